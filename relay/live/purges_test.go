package live

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
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
	n.o.Registry = inGrace{n.o.Registry, l}
	n.o.Bus = deserted{n.o.Bus}
	if gone, err := n.purges.gone(t.Context(), life{d.doc, "an-epoch"}); err != nil || !gone {
		t.Errorf("another epoch is pinned: %v, %v", gone, err)
	}
	other := todo
	other.Name = "of no room"
	if gone, err := n.purges.gone(t.Context(), life{other, l.epoch}); err != nil || gone {
		t.Errorf("it is in its grace period: %v, %v", gone, err)
	}
}

// inGrace is a registry in which each document's pin is of one epoch, and nobody holds it.
type inGrace struct {
	Registry
	l life
}

func (g inGrace) Lookup(context.Context, docid.Document) (kvpin.Pin, kvpin.State, error) {
	return kvpin.Pin{Epoch: kvpin.Epoch(g.l.epoch)}, kvpin.Grace, nil
}

// The clock of the node that left last may be ahead of that of the node which ends the life.
func TestALifeWaitsForItsPinNoLongerThanAGracePeriod(t *testing.T) {
	r, _ := storing(t)
	l := life{todo, docid.NewStoredEpoch("left")}
	r.options = func(o *Options) { o.Registry = leftLater{inGrace{o.Registry, l}} }
	n := r.node("a")
	if next := n.ends(t, l); next <= 0 || next > n.o.Grace+afterExpiry {
		t.Errorf("it is looked at in %v, and its grace period is %v", next, n.o.Grace)
	}
}

// leftLater is a registry whose pins were left in an hour.
type leftLater struct{ inGrace }

func (r leftLater) Lookup(ctx context.Context, d docid.Document) (kvpin.Pin, kvpin.State, error) {
	p, s, err := r.inGrace.Lookup(ctx, d)
	p.Left = time.Now().Add(time.Hour)
	return p, s, err
}

// deserted is a region in which nobody answers.
type deserted struct{ Bus }

func (deserted) Request(context.Context, string, []byte) ([]byte, error) {
	return nil, bus.ErrNobody
}
