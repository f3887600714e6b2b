package history_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// open opens a history on a connection of its own, as a pod does.
func open(t testing.TB, servers *natstest.Instance, config history.Config) *history.History {
	t.Helper()
	return openOn(t, natstest.Connect(t, servers, nats.NoEcho()), config)
}

func openOn(t testing.TB, nc *nats.Conn, config history.Config) *history.History {
	t.Helper()
	h, err := history.Open(within(t, time.Minute), nc, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// outcome is what a done function was called with.
type outcome struct {
	seq uint64
	err error
}

func appendTo(t testing.TB, h *history.History, subject, data string) outcome {
	t.Helper()
	out := make(chan outcome, 1)
	if err := h.Append(subject, []byte(data), func(seq uint64, err error) { out <- outcome{seq, err} }); err != nil {
		t.Fatal(err)
	}
	return <-out
}

func stored(t testing.TB, h *history.History, subject, data string) uint64 {
	t.Helper()
	o := appendTo(t, h, subject, data)
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.seq
}

func load(t testing.TB, h *history.History, subject string) (all []string, last uint64) {
	t.Helper()
	last, err := h.LoadFrom(within(t, time.Minute), subject, 1, func(_ uint64, data []byte) error {
		all = append(all, string(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, last
}

func subject(name string) string { return "wsn.u.0.aws-eu-west-1.t.a." + name + ".e" }

func TestWhatIsAppendedIsLoadedInOrder(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	for _, n := range []int{0, 1, 2, 3000} {
		s := subject(fmt.Sprint("doc", n))
		var want []string
		var last uint64
		for i := range n {
			data := fmt.Sprint("update ", i)
			want = append(want, data)
			last = stored(t, h, s, data)
			stored(t, h, subject("other"), "x")
		}
		got, gotLast := load(t, h, s)
		if strings.Join(got, ",") != strings.Join(want, ",") || gotLast != last {
			t.Errorf("%d messages: got %d, last %d, expected last %d", n, len(got), gotLast, last)
		}
	}
}

func TestAReadingBeginsWhereItIsTold(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	s := subject("d")
	stored(t, h, s, "a")
	b := stored(t, h, s, "b")
	stored(t, h, subject("other"), "x")
	c := stored(t, h, s, "c")
	for from, want := range map[uint64]string{1: "abc", b: "bc", b + 1: "c", c: "c", c + 1: ""} {
		got := ""
		last, err := h.LoadFrom(within(t, time.Minute), s, from, func(_ uint64, data []byte) error {
			got += string(data)
			return nil
		})
		if err != nil || got != want || last != c {
			t.Errorf("from %d: got %q, last %d, expected %q, %d: %v", from, got, last, want, c, err)
		}
	}
	if last, err := h.LoadFrom(within(t, time.Minute), subject("none"), 5, nil); err != nil || last != 4 {
		t.Errorf("of nothing the last is %d, %v", last, err)
	}
}

func TestPurgeKeepsTheSequenceAndAbove(t *testing.T) {
	h := open(t, natstest.Server(t), history.Config{})
	s := subject("d")
	stored(t, h, s, "a")
	b := stored(t, h, s, "b")
	stored(t, h, s, "c")
	stored(t, h, subject("other"), "x")
	if err := h.PurgeBelow(within(t, time.Minute), s, b); err != nil {
		t.Fatal(err)
	}
	if got, _ := load(t, h, s); fmt.Sprint(got) != "[b c]" {
		t.Errorf("got %v", got)
	}
	if err := h.Drop(within(t, time.Minute), s); err != nil {
		t.Fatal(err)
	}
	if got, last := load(t, h, s); len(got) != 0 || last != 0 {
		t.Errorf("got %v, %d", got, last)
	}
	if got, _ := load(t, h, subject("other")); len(got) != 1 {
		t.Errorf("another subject lost its messages")
	}
}

func TestARelaxedStreamIsKnownToBeOne(t *testing.T) {
	servers := natstest.Server(t)
	if open(t, natstest.Server(t), history.Config{}).Relaxed() {
		t.Error("a stream that nobody relaxed is said to be relaxed")
	}
	first, second := open(t, servers, history.Config{Relaxed: true}), open(t, servers, history.Config{})
	if !first.Relaxed() || !second.Relaxed() {
		t.Errorf("relaxed: %v for the pod that created the stream, %v for another", first.Relaxed(), second.Relaxed())
	}
}
