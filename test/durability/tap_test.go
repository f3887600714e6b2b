package durability

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
)

// tap listens to everything on a region's NATS and remembers which updates went
// to the history, and for which of them JetStream's acknowledgement went out. It
// is stricter than the nodes: an acknowledgement counts even if it reached only
// the tap.
type tap struct {
	nc *nats.Conn

	mu        sync.Mutex
	waiting   map[string]tapped // by the subject of the acknowledgement
	acked     map[string][][]byte
	published map[string]int
	count     int
	more      chan struct{} // closed and replaced at each acknowledgement
}

type tapped struct {
	document string
	update   []byte
}

func tapHistory(tb testing.TB, url string) *tap {
	tb.Helper()
	nc, err := nats.Connect(url, nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { tb.Errorf("the tap missed something: %v", err) }))
	if err != nil {
		tb.Fatal(err)
	}
	t := &tap{
		nc: nc, waiting: map[string]tapped{}, acked: map[string][][]byte{}, published: map[string]int{}, more: make(chan struct{}),
	}
	sub, err := nc.Subscribe(">", t.hear)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(t.close)
	return t
}

func (t *tap) close() {
	t.nc.Close()
}

func (t *tap) hear(m *nats.Msg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if doc, _, err := docid.ParseUpdatesSubject(m.Subject); err == nil {
		t.published[doc.Name]++
		if u := updateIn(m.Data); u != nil && m.Reply != "" {
			t.waiting[m.Reply] = tapped{doc.Name, u}
		}
		return
	}
	sent, ok := t.waiting[m.Subject]
	if !ok || !strings.Contains(string(m.Data), `"seq":`) || strings.Contains(string(m.Data), `"error"`) {
		return
	}
	delete(t.waiting, m.Subject)
	t.acked[sent.document] = append(t.acked[sent.document], sent.update)
	t.count++
	close(t.more)
	t.more = make(chan struct{})
}

// updateIn takes the Yjs update out of a message between pods: version, kind,
// room (8 bytes), counter, update. See relay/oplog.
func updateIn(data []byte) []byte {
	const kindUpdates, kindSnapshot = 1, 2
	if len(data) < 11 || data[1] != kindUpdates && data[1] != kindSnapshot {
		return nil
	}
	_, n := binary.Uvarint(data[10:])
	if n <= 0 {
		return nil
	}
	return data[10+n:]
}

// waitAcknowledged waits until so many updates have been acknowledged.
func (t *tap) waitAcknowledged(tb testing.TB, count int) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		got, more := t.count, t.more
		t.mu.Unlock()
		if got >= count {
			return
		}
		select {
		case <-more:
		case <-deadline:
			tb.Fatalf("%d updates were acknowledged within %v, expected %d", got, patience, count)
		}
	}
}

// of returns the acknowledged updates of a document, and how many messages were
// published for it.
func (t *tap) of(document string) (acked [][]byte, published int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked[document], t.published[document]
}
