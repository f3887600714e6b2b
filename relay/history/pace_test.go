package history_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// quarter makes the largest message 256 KiB.
func quarter(o *server.Options) { o.MaxPayload = 256 << 10 }

func TestHugeGroupsAreAppendedInOrderWithSmallOnesBetween(t *testing.T) {
	const groups, parts = 2, 110
	servers := natstest.Server(t, quarter)
	p := openPod(t, servers.URL, history.Config{AckWait: time.Minute})
	var all sync.WaitGroup
	var failed atomic.Int64
	done := func(_ uint64, err error) {
		if err != nil {
			failed.Add(1)
		}
		all.Done()
	}
	for g := range groups {
		s := subject(fmt.Sprint("d", g))
		all.Add(2*parts + 1)
		go func() {
			defer all.Done()
			for i := range parts {
				large := make([]byte, p.History.MaxPayload())
				copy(large, fmt.Sprint(2*i))
				for _, data := range [][]byte{large, fmt.Append(nil, 2*i+1)} {
					if err := p.Append(s, data, done); err != nil {
						t.Error(err)
						all.Done()
					}
				}
			}
		}()
	}
	most := 0
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	for waiting := true; waiting; {
		select {
		case <-finished:
			waiting = false
		case <-time.After(time.Millisecond):
			most = max(most, p.Stats().Backlog)
		}
	}
	if failed.Load() > 0 {
		t.Errorf("%d appends failed", failed.Load())
	}
	if most > 40<<20 {
		t.Errorf("%d bytes waited for NATS", most)
	}
	for g := range groups {
		messages, _ := load(t, p.History, subject(fmt.Sprint("d", g)))
		if len(messages) != 2*parts {
			t.Fatalf("%d messages", len(messages))
		}
		for i, m := range messages {
			want := fmt.Sprint(i)
			if m[:len(want)] != want || (i%2 == 0) != (len(m) > 10) {
				t.Fatalf("message %d is %q", i, m[:len(want)])
			}
		}
	}
	if n := p.InFlight(); n != 0 {
		t.Errorf("%d appends are in flight", n)
	}
}

func TestWhatWaitsBehindAFailedPartFailsWithIt(t *testing.T) {
	servers := natstest.Server(t, quarter)
	proxy := natstest.NewProxy(t, servers.URL)
	p := openPod(t, proxy.URL, history.Config{AckWait: 300 * time.Millisecond})
	proxy.CutReplies()
	outcomes := make(chan error, 1000)
	large := make([]byte, p.History.MaxPayload())
	const parts = 200
	for range parts {
		if err := p.Append(subject("d"), large, func(_ uint64, err error) { outcomes <- err }); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for range parts {
		if err := <-outcomes; !errors.Is(err, history.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if p.InFlight() != 0 {
		t.Errorf("%d appends are in flight", p.InFlight())
	}
}

func TestClosingEndsAppendsThatWaitForTheirTurn(t *testing.T) {
	servers := natstest.Server(t, quarter)
	proxy := natstest.NewProxy(t, servers.URL)
	p := openPod(t, proxy.URL, history.Config{})
	proxy.CutReplies()
	var closed atomic.Int64
	large := make([]byte, p.History.MaxPayload())
	for range 200 {
		if err := p.Append(subject("d"), large, func(_ uint64, err error) {
			if errors.Is(err, history.ErrClosed) {
				closed.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	p.History.Close()
	if n := closed.Load(); n != 200 {
		t.Errorf("%d of 200 appends ended", n)
	}
}

// deafPublisher is a publisher that can be switched off.
type deafPublisher struct {
	*bus.Bus
	off atomic.Bool
}

func (d *deafPublisher) PublishRequest(subject, reply string, data []byte) error {
	if d.off.Load() {
		return bus.ErrDisconnected
	}
	return d.Bus.PublishRequest(subject, reply, data)
}

func TestPublishersErrorIsTheCallersOrItsDones(t *testing.T) {
	servers := natstest.Server(t, quarter)
	nc, err := bus.Connect(within(t, time.Minute), bus.ConnectConfig{URL: servers.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := bus.New(nc, bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	publisher := &deafPublisher{Bus: b}
	h := openOn(t, nc, history.Config{Publisher: publisher})
	large := make([]byte, h.MaxPayload())
	outcomes := make(chan error, 200)
	off := make(chan struct{})
	done := func(_ uint64, err error) {
		<-off // no acknowledgement makes room, so most appends wait when the publisher is switched off
		outcomes <- err
	}
	for range 200 {
		if err := h.Append(subject("d"), large, done); err != nil {
			t.Fatal(err)
		}
	}
	publisher.off.Store(true)
	close(off)
	if err := h.Append(subject("other"), []byte("x"), done); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("small: %v", err)
	}
	failures := 0
	for range 200 {
		if err := <-outcomes; errors.Is(err, bus.ErrDisconnected) {
			failures++
		} else if err != nil {
			t.Error(err)
		}
	}
	if failures == 0 {
		t.Error("nothing failed")
	}
	publisher.off.Store(false)
	stored(t, h, subject("d"), string(large))
	if h.InFlight() != 0 {
		t.Errorf("%d appends are in flight", h.InFlight())
	}
}
