package bus_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestNothingIsReceivedAfterUnsubscribe(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	var came atomic.Int64
	first := make(chan struct{}, 1)
	var s *bus.Subscription
	s, err := b.Subscribe("x", bus.HandlerFunc(func(_, _ string, _ []byte) {
		if came.Add(1) == 1 {
			s.Unsubscribe() // a room may close in the middle of a message
			first <- struct{}{}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	after := collect(t, b, "y")
	for range 100 {
		publish(t, a, "x", "")
	}
	publish(t, a, "y", "last")
	<-first
	expect(t, after, message{"y", "", "last"})
	if n := came.Load(); n != 1 {
		t.Errorf("received %d messages, expected 1", n)
	}
	if n := b.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions are held, expected 1", n)
	}
}

func TestReceivedBytesStayUnchanged(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	kept := make(chan []byte, 5000)
	if _, err := b.Subscribe("x", bus.HandlerFunc(func(_, _ string, data []byte) { kept <- data })); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	for i := range 5000 {
		publish(t, a, "x", fmt.Sprintf("%0*d", 1+i%500, i))
	}
	all := make([][]byte, 5000)
	for i := range all {
		all[i] = <-kept
	}
	for i, data := range all {
		if want := fmt.Sprintf("%0*d", 1+i%500, i); string(data) != want {
			t.Fatalf("message %d became %q", i, data)
		}
	}
}

func TestDroppedMessagesAreReportedOnceThereIsRoom(t *testing.T) {
	servers := natstest.Server(t)
	disturbed := make(chan int, 10)
	var b *bus.Bus
	b = open(t, servers.URL, bus.Config{Lanes: 1, LaneDepth: 16, Disturbed: func() { disturbed <- b.Stats().Waiting }})
	a := open(t, servers.URL, bus.Config{})
	hold := make(chan struct{})
	var came atomic.Int64
	if _, err := b.Subscribe("x", bus.HandlerFunc(func(_, _ string, _ []byte) {
		<-hold
		came.Add(1)
	})); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	for range 100 {
		publish(t, a, "x", "")
	}
	flush(t, a)
	flush(t, b)
	select {
	case <-disturbed:
		t.Fatal("reported while the lane was still full")
	case <-time.After(50 * time.Millisecond):
	}
	close(hold)
	select {
	case waiting := <-disturbed:
		if waiting > 8 {
			t.Errorf("reported while %d messages waited", waiting)
		}
	case <-time.After(time.Minute):
		t.Fatal("drops were not reported")
	}
	if came.Load() > 20 || b.Stats().Dropped == 0 {
		t.Errorf("%d came, %d drops counted", came.Load(), b.Stats().Dropped)
	}
}

func TestHundredThousandSubscriptionsCostUnderOneKibEach(t *testing.T) {
	const n = 100_000
	// A server without content, so that the heap is the client's alone.
	url, _ := hollow(t, blank)
	b := open(t, url, bus.Config{})
	subjects := make([]string, n)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("wsn.u.0.aws-eu-west-1.tenant.app.document-%d.epoch", i)
	}
	h := bus.HandlerFunc(func(_, _ string, _ []byte) {})
	subscriptions := make([]*bus.Subscription, n)
	goroutines, before := runtime.NumGoroutine(), heap()
	began := time.Now()
	for i, subject := range subjects {
		var err error
		if subscriptions[i], err = b.Subscribe(subject, h); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, b)
	took := time.Since(began)
	each := int64(heap()-before) / n
	t.Logf("%d bytes per subscription, %v for all", each, took)
	if each > 1024 {
		t.Errorf("%d bytes per subscription", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 10 {
		t.Errorf("%d more goroutines", more)
	}
	for _, s := range subscriptions {
		s.Unsubscribe()
	}
	flush(t, b)
	if left := int64(heap()-before) / n; left > 256 {
		t.Errorf("%d bytes per ended subscription stay", left)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestClosedBusCallsNobody(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	var closed atomic.Bool
	if _, err := b.Subscribe("x", bus.HandlerFunc(func(_, _ string, _ []byte) {
		if closed.Load() {
			t.Error("called after Close")
		}
	})); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	for range 1000 {
		publish(t, a, "x", "")
	}
	b.Close()
	closed.Store(true)
	for range 1000 {
		publish(t, a, "x", "")
	}
	flush(t, a)
	if err := b.Publish("x", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.Subscribe("x", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if err := b.RequestMany(within(t, time.Second), "x", nil, 0, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("request: %v", err)
	}
	if n := b.Conn().NumSubscriptions(); n != 0 {
		t.Errorf("%d subscriptions are left on the connection", n)
	}
}

func TestBytesThatWaitForHandlersAreBounded(t *testing.T) {
	const n = 200 // of 1 MiB each
	servers := natstest.Server(t)
	// On a busy machine a ping waits so long behind the bytes that the connection would
	// be given up, and with it what is on its way.
	calm := bus.ConnectConfig{URL: servers.URL, Options: []nats.Option{nats.PingInterval(time.Hour)}}
	a, b := openWith(t, calm, bus.Config{}), openWith(t, calm, bus.Config{})
	var came atomic.Int64
	begin := time.Now()
	if _, err := b.Subscribe("x", bus.HandlerFunc(func(_, _ string, _ []byte) {
		time.Sleep(time.Until(begin.Add(500 * time.Millisecond))) // slow at first
		came.Add(1)
	})); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	data := make([]byte, a.MaxPayload())
	most := 0
	for range n {
		for errors.Is(a.Publish("x", data), bus.ErrBacklog) {
			time.Sleep(time.Millisecond)
		}
		most = max(most, b.Stats().Waiting)
	}
	for deadline := time.Now().Add(2 * time.Minute); came.Load() < n; time.Sleep(time.Millisecond) {
		most = max(most, b.Stats().Waiting)
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages came", came.Load(), n)
		}
	}
	if most > 140 {
		t.Errorf("%d MiB waited", most)
	}
}
