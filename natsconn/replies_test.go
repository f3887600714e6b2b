package natsconn_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAnswersReachWhoAskedAndNobodyWhoForgot(t *testing.T) {
	s := natstest.Server(t)
	asks, answers := natstest.Connect(t, s), natstest.Connect(t, s)
	replies, err := natsconn.NewReplies(asks)
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 10)
	expect := func(name string) string {
		return replies.Expect(natsconn.ReceiverFunc(func(m *nats.Msg) { came <- name + ":" + string(m.Data) }))
	}
	send := func(subject, data string) {
		t.Helper()
		if err := answers.Publish(subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	one := expect("one")
	two := expect("two")
	flush := func(nc *nats.Conn) {
		t.Helper()
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flush(asks)
	send(one, "a")
	send(two, "b")
	send(one, "c")
	for _, want := range []string{"one:a", "two:b", "one:c"} {
		if got := <-came; got != want {
			t.Errorf("%s came, expected %s", got, want)
		}
	}
	replies.Forget(one)
	send(one, "late")
	send(two, "d")
	if got := <-came; got != "two:d" {
		t.Errorf("%s came, although nobody waits for it", got)
	}

	asks.Close()
	moved := natstest.Connect(t, s)
	if err := replies.Move(moved); err != nil {
		t.Fatal(err)
	}
	flush(moved)
	send(two, "on the next connection")
	if got := <-came; got != "two:on the next connection" {
		t.Errorf("%s came", got)
	}
	replies.Close()
	flush(moved)
	if _, err := answers.Request(two, nil, 30*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after the end somebody listens: %v", err)
	}
}
