package live

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/test/natstest"
)

func TestAnEpochIsOverOnlyIfNobodyInTheRegionHasIt(t *testing.T) {
	server := natstest.Server(t)
	n := region{t: t, url: server.URL}.node("a")
	l := life{todo, "an-epoch"} // of which the registry knows nothing
	if gone, err := n.purges.gone(t.Context(), l); err != nil || !gone {
		t.Errorf("nobody has it: %v, %v", gone, err)
	}
	nc := natstest.Connect(t, server)
	silent, err := nc.Subscribe(todo.SignalsSubject(), func(*nats.Msg) {})
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if gone, err := n.purges.gone(t.Context(), l); gone || !errors.Is(err, errNoWord) {
		t.Errorf("a room is there, and silent: %v, %v", gone, err)
	}
	if err := errors.Join(silent.Unsubscribe(), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	d := n.open(t, todo)
	if gone, err := n.purges.gone(t.Context(), l); err != nil || !gone {
		t.Errorf("it is live in a later epoch: %v, %v", gone, err)
	}
	l.epoch = d.Room().Epoch()
	if gone, err := n.purges.gone(t.Context(), l); err != nil || gone {
		t.Errorf("it is live: %v, %v", gone, err)
	}
}
