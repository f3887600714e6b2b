package room

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// turning is a history during whose next reading something happens.
type turning struct {
	History
	then func()
}

func (h *turning) LoadFrom(ctx context.Context, subject string, from uint64, each func(uint64, []byte) error) (uint64, error) {
	if then := h.then; then != nil {
		h.then = nil
		then()
	}
	return h.History.LoadFrom(ctx, subject, from, each)
}

// What was read of a life that the room left meanwhile says nothing of the one that it is in.
func TestAReadingOfALifeThatWasLeftIsNotTaken(t *testing.T) {
	h := new(turning)
	p := newKeepingPod(t, natstest.Server(t).URL, func(c *Config) { h.History, c.History = c.History, h })
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	_, seat := join(t, r)
	w := &writer{client: 1}
	for range 3 {
		apply(t, seat, w.insert("x"))
		durable(t, r)
	}
	former := r.at.now().updates
	h.then = func() {
		if err := r.Rebase(t.Context(), docid.NewStoredEpoch("e2")); err != nil {
			t.Error(err)
		}
	}
	if _, covered, err := r.backlog.read(t.Context(), former); !errors.Is(err, errRebased) || covered != 0 {
		t.Errorf("it was read up to %d: %v", covered, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.backlog.contained.subject; at != r.at.updates {
		t.Errorf("the room goes on reading at %s, and lives at %s", at, r.at.updates)
	}
}
