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

// Rule 3: a snapshot that came behind the last save of a life would have it stored again.
func TestWhereNobodyIsLeftNothingIsCompacted(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL, func(c *Config) { c.CompactMessages = 3 })
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	r.mu.Lock()
	r.backlog.compacting = true // so that the clock begins none
	r.mu.Unlock()
	due := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		defer func() { r.backlog.compacting = true }()
		r.backlog.compacting = false
		return r.backlog.due(now())
	}
	_, seat := join(t, r)
	w := &writer{client: 1}
	for range 4 {
		apply(t, seat, w.insert("x"))
		durable(t, r)
	}
	if !due() {
		t.Fatal("no compaction is due: nothing is tested")
	}
	seat.Leave()
	if due() {
		t.Error("a compaction is due of a document that everybody left")
	}
	before, _ := p.loaded(t)
	r.backlog.compact(t.Context()) // it was waiting for its turn when they left
	if after, _ := p.loaded(t); after.Last != before.Last || p.Counters.Compactions.Load() != 0 {
		t.Errorf("a snapshot was appended at %d", after.Last)
	}
}
