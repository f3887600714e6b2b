package relay

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// typist is a client that sends several messages at once, and what it has been sent.
type typist struct {
	conn   net.Conn
	client uint64
	clock  uint64
	cursor uint64 // its clock

	mu      sync.Mutex
	store   *ystore.Store
	cursors map[uint64]uint64 // the newest clock seen of each client
	err     error
}

// burst sends edits and cursors in one write.
func (y *typist) burst(t *testing.T, messages int) {
	var frames []byte
	for range messages {
		if rand.IntN(2) == 0 {
			y.cursor = y.clock + 1
			frames = append(frames, masked(wire.Encode(wire.Awareness, awareness.Append(nil, []awareness.Entry{
				{Client: y.client, Clock: y.cursor, State: fmt.Appendf(nil, `{"cursor":%d}`, y.clock)},
			})).Content())...)
		}
		u := typedBy(y.client, y.clock)
		y.clock++
		y.take(wire.Update, u)
		frames = append(frames, masked(wire.Encode(wire.Update, u).Content())...)
	}
	if _, err := y.conn.Write(frames); err != nil {
		t.Error(err)
	}
}

func (y *typist) take(kind wire.Kind, payload []byte) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch kind {
	case wire.Step2, wire.Update:
		if _, err := y.store.Apply(payload); err != nil {
			y.err = err
		}
	case wire.Awareness:
		entries, err := awareness.DecodeAll(payload)
		if err != nil {
			y.err = err
		}
		for _, e := range entries {
			if e.Clock < y.cursors[e.Client] {
				y.err = fmt.Errorf("the cursor of %d goes back from %d to %d", e.Client, y.cursors[e.Client], e.Clock)
			}
			y.cursors[e.Client] = e.Clock
		}
	}
}

// read takes what comes, frame by frame, until the connection ends.
func (y *typist) read(from *bufio.Reader) {
	for {
		h, err := ws.ReadHeader(from)
		if err != nil {
			return
		}
		content := make([]byte, h.Length)
		for n := 0; n < len(content); {
			m, err := from.Read(content[n:])
			if err != nil {
				return
			}
			n += m
		}
		if h.OpCode != ws.OpBinary {
			continue
		}
		m, err := wire.Decode(content)
		if err != nil {
			y.mu.Lock()
			y.err = err
			y.mu.Unlock()
			return
		}
		y.take(m.Kind, m.Payload)
	}
}

func TestBurstsOfManyReachEverybodyInOrder(t *testing.T) {
	const many, rounds = 5, 40
	w := newWorld(t)
	n := w.node(eu, "a")
	token := w.token(authn.Subject{})
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token}})}
	var all []*typist
	var reading sync.WaitGroup
	defer func() {
		for _, y := range all {
			_ = y.conn.Close()
		}
		reading.Wait()
	}()
	for i := range many {
		c, early, _, err := dialer.Dial(t.Context(), "ws://"+n.addr+"/minutes")
		if err != nil {
			t.Fatal(err)
		}
		if early == nil {
			early = bufio.NewReader(c)
		}
		y := &typist{conn: c, client: uint64(i + 1), store: ystore.New(ystore.Limits{}), cursors: map[uint64]uint64{}}
		all = append(all, y)
		reading.Go(func() { y.read(early) })
	}
	eventually(t, "all are in", func() bool { return len(n.clients.seated()) == many })
	for round := range rounds {
		var writing sync.WaitGroup
		for _, y := range all {
			messages := 1 + rand.IntN(12)
			writing.Go(func() { y.burst(t, messages) })
		}
		writing.Wait()
		if round%10 != 9 {
			continue
		}
		for _, y := range all {
			eventually(t, "everybody has everything", func() bool { return y.has(t, all) })
		}
	}
}

// has reports whether the client has been sent everything that all have typed, and where
// their cursors are.
func (y *typist) has(t *testing.T, all []*typist) bool {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.err != nil {
		t.Fatal(y.err)
	}
	for _, o := range all {
		brings, err := y.store.Brings(typedBy(o.client, o.clock-1))
		if err != nil {
			t.Fatal(err)
		}
		if brings || y.cursors[o.client] != o.cursor {
			return false
		}
	}
	return true
}
