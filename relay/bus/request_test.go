package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

// answerer subscribes to "who" and answers n times.
func answerer(t *testing.T, url, name string, n int) *bus.Bus {
	t.Helper()
	b := open(t, url, bus.Config{})
	if _, err := b.Subscribe("who", bus.HandlerFunc(func(_, reply string, _ []byte) {
		for i := range n {
			_ = b.Publish(reply, fmt.Append(nil, name, i))
		}
	})); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	return b
}

func TestManyAnswersAreCollectedUntilItIsQuiet(t *testing.T) {
	servers := natstest.Server(t)
	a := open(t, servers.URL, bus.Config{})
	for _, name := range []string{"b", "c", "d"} {
		answerer(t, servers.URL, name, 2)
	}
	got := map[string]bool{}
	began := time.Now()
	err := a.RequestMany(within(t, time.Minute), "who", nil, 300*time.Millisecond, func(answer []byte) bool {
		got[string(answer)] = true
		return true
	})
	if err != nil || len(got) != 6 {
		t.Fatalf("got %v, %v", got, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestCollectingEndsWithTheDeadlineOrByTheCaller(t *testing.T) {
	servers := natstest.Server(t)
	a := open(t, servers.URL, bus.Config{})
	answerer(t, servers.URL, "b", 5)
	n := 0
	count := func([]byte) bool { n++; return n < 3 }
	if err := a.RequestMany(within(t, time.Minute), "who", nil, 0, count); err != nil || n != 3 {
		t.Errorf("by the caller: %d answers, %v", n, err)
	}
	n = -100
	if err := a.RequestMany(within(t, 200*time.Millisecond), "who", nil, 0, count); err != nil || n != -95 {
		t.Errorf("by the deadline: %d answers, %v", n+100, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n = -100
	if err := a.RequestMany(ctx, "silent", nil, 0, count); !errors.Is(err, context.Canceled) && !errors.Is(err, bus.ErrNobody) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRequestWithoutAnswerEndsWithTheDeadline(t *testing.T) {
	servers := natstest.Server(t)
	a := open(t, servers.URL, bus.Config{})
	answerer(t, servers.URL, "b", 0)
	if _, err := a.Request(within(t, 50*time.Millisecond), "who", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEmptyAnswerIsAnAnswer(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	if _, err := b.Subscribe("who", bus.HandlerFunc(func(_, reply string, _ []byte) { _ = b.Publish(reply, nil) })); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	if answer, err := a.Request(within(t, time.Minute), "who", nil); err != nil || len(answer) != 0 {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestPendingRequestFailsWhenTheBusIsClosed(t *testing.T) {
	servers := natstest.Server(t)
	a := open(t, servers.URL, bus.Config{})
	asked := make(chan struct{})
	b := open(t, servers.URL, bus.Config{})
	if _, err := b.Subscribe("who", bus.HandlerFunc(func(_, _ string, _ []byte) { close(asked) })); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Request(within(t, time.Minute), "who", nil)
		failed <- err
	}()
	<-asked
	a.Close()
	if err := <-failed; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
