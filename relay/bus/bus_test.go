package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, url string, config bus.Config) *bus.Bus {
	t.Helper()
	nc, err := bus.Connect(within(t, time.Minute), bus.ConnectConfig{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := bus.New(nc, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

type message struct{ subject, reply, data string }

// collect subscribes and returns what comes.
func collect(t testing.TB, b *bus.Bus, subject string) <-chan message {
	t.Helper()
	c := make(chan message, 10000)
	_, err := b.Subscribe(subject, bus.HandlerFunc(func(subject, reply string, data []byte) {
		c <- message{subject, reply, string(data)}
	}))
	if err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	return c
}

func flush(t testing.TB, b *bus.Bus) {
	t.Helper()
	if err := b.Flush(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, b *bus.Bus, subject, data string) {
	t.Helper()
	if err := b.Publish(subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, c <-chan message, want message) {
	t.Helper()
	select {
	case got := <-c:
		if got != want {
			t.Fatalf("got %v, expected %v", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("nothing came, expected %v", want)
	}
}

func TestMessagesReachOtherPodsInOrderAndNotTheirPublisher(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	atA, atB := collect(t, a, "x"), collect(t, b, "x")
	for i := range 1000 {
		publish(t, a, "x", fmt.Sprint(i))
	}
	for i := range 1000 {
		expect(t, atB, message{"x", "", fmt.Sprint(i)})
	}
	publish(t, b, "x", "back")
	expect(t, atA, message{"x", "", "back"})
}

func TestRequestReturnsTheFirstAnswer(t *testing.T) {
	servers := natstest.Server(t)
	a, b := open(t, servers.URL, bus.Config{}), open(t, servers.URL, bus.Config{})
	_, err := b.Subscribe("who", bus.HandlerFunc(func(_, reply string, data []byte) {
		_ = b.Publish(reply, append([]byte("answer to "), data...))
	}))
	if err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	answer, err := a.Request(within(t, time.Minute), "who", []byte("a"))
	if err != nil || string(answer) != "answer to a" {
		t.Fatalf("got %q, %v", answer, err)
	}
	if _, err := b.Request(within(t, time.Minute), "who", nil); !errors.Is(err, bus.ErrNobody) {
		t.Fatalf("a pod asked itself: %v", err)
	}
}
