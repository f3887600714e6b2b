package bus_test

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

func TestABusMovesToAnotherConnectionWhenItsOwnEndsForGood(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	disturbed := make(chan struct{}, 10)
	moved := make(chan struct{}, 10)
	b := openWith(t, bus.ConnectConfig{URL: proxy.URL}, bus.Config{Disturbed: func() { disturbed <- struct{}{} }})
	t.Cleanup(func() { b.Close(); b.Conn().Close() })
	a := open(t, servers.URL, bus.Config{})
	came := collect(t, b, "x")
	ended, err := b.Subscribe("gone", bus.HandlerFunc(func(string, string, []byte) {}))
	if err != nil {
		t.Fatal(err)
	}
	b.OnMove(func(*nats.Conn) { moved <- struct{}{} })
	if _, err := a.Subscribe("ask", bus.HandlerFunc(func(_, reply string, _ []byte) { _ = a.Publish(reply, []byte("answer")) })); err != nil {
		t.Fatal(err)
	}
	flush(t, a)
	for range 2 {
		before := b.Conn()
		proxy.Say("-ERR 'Something That No Client Knows'\r\n")
		wait.Until(t, "the end is told", func() bool { return b.Ended() != nil || b.Conn() != before })
		if err := b.Ended(); err != nil && !errors.Is(err, natsconn.ErrEnded) {
			t.Errorf("told as %v", err)
		}
		<-moved
		<-disturbed
		if b.Ended() != nil || !b.Connected() || !before.IsClosed() {
			t.Fatalf("after the move: %v, connected %v, the one before closed %v", b.Ended(), b.Connected(), before.IsClosed())
		}
		flush(t, b)
		publish(t, a, "x", "again")
		expect(t, came, message{"x", "", "again"})
		if answer, err := b.Request(within(t, time.Minute), "ask", nil); err != nil || string(answer) != "answer" {
			t.Errorf("request: %q, %v", answer, err)
		}
	}
	ended.Unsubscribe()
	if n := b.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	if n := b.Conn().NumSubscriptions(); n != 2 { // and the inbox
		t.Errorf("NATS has %d subscriptions", n)
	}
}

func TestAClosedBusOpensNoOtherConnection(t *testing.T) {
	b := openWith(t, bus.ConnectConfig{URL: natstest.Server(t).URL}, bus.Config{})
	b.Close()
	b.Conn().Close()
	if err := b.Ended(); err != nil {
		t.Error(err)
	}
}

// An address that accepts and resets must not cost a descriptor at each try: the
// connection before is closed when there is a next one.
func TestTheConnectionBeforeIsClosed(t *testing.T) {
	servers := natstest.Server(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	// The collector would close what nobody holds any more.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	b := openWith(t, bus.ConnectConfig{URL: servers.URL + ",nats://" + l.Addr().String(), Options: impatient}, bus.Config{})
	servers.Stop(0)
	for range 3 {
		c := <-accepted
		// Something that is no greeting: nats.go gives up and forgets the connection.
		if _, err := c.Write([]byte("HELLO\r\n")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection before stays open: %v", err)
		}
		c.Close()
	}
	b.Close()
}
