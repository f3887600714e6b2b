package room

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// Rule 3: with the first edit of a stored document all of it follows into the history, in a
// snapshot that goes ahead and may hold an edit which waits to be published. Who leaves at
// once must not have the store asked before that is there, too: it would stand behind the mark,
// and the life would be stored once more when nobody has it open.
func TestALifeIsCleanWhenWhoTypedLeavesAtOnce(t *testing.T) {
	h := new(withheld)
	p := newKeepingPod(t, natstest.Server(t).URL, withholding(h), func(c *Config) { c.BatchWindow = patience })
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S", Version: "v1"}, Update: (&writer{client: 2}).insert("before")}, &changed)
	_, seat := join(t, r)
	apply(t, seat, (&writer{client: 1}).insert("typed"))
	r.log.appendOwed() // as the outbox does before it publishes what it took
	covered := func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.log.water.own() == r.log.water.taken }
	eventually(t, "the snapshot has the edit", covered)
	seat.Leave()

	h.set(true, false)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		eventually(t, "the edit is published", func() bool { held, _, _ := h.count(); return held == 1 })
	}()
	if err := r.Durable(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, although an edit has yet to be acknowledged", err)
	}
	if clean, err := r.Clean(t.Context()); err != nil || clean {
		t.Errorf("clean is %v: %v", clean, err)
	}
	r.mu.Lock()
	waiting := len(r.log.waiters)
	r.mu.Unlock()
	if waiting != 0 {
		t.Errorf("%d still wait who have gone", waiting)
	}
	h.set(false, false)
	h.release(-1)

	durable(t, r)
	store(t, r, "v2")
	if clean, err := r.Clean(t.Context()); err != nil || !clean {
		t.Errorf("stored once, it is clean: %v, %v", clean, err)
	}
	if found, _ := p.loaded(t); !found.Clean() || found.Stored != found.Last-1 {
		t.Errorf("of the history the store has all up to %d: %+v", found.Stored, found)
	}
}

// Who gives up waiting leaves nothing behind: neither for its edits, nor for those of others.
func TestWhoWaitsNoMoreLeavesNoQuestion(t *testing.T) {
	h, _, r, _, seat := withholds(t)
	h.set(true, false)
	apply(t, seat, (&writer{client: 1}).insert("typed"))
	d := draft(t, r)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if err := r.Durable(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("durable: %v", err)
		}
		if err := r.Stored(gone, d, "v1"); !errors.Is(err, context.Canceled) {
			t.Errorf("stored: %v", err)
		}
	}
	r.mu.Lock()
	waiting, open := len(r.log.waiters), len(r.asks.open)
	r.mu.Unlock()
	if waiting != 0 || open != 0 {
		t.Errorf("%d still wait, and %d questions are open", waiting, open)
	}
	eventually(t, "it is published", func() bool { held, _, _ := h.count(); return held > 0 })
	h.set(false, false)
	h.release(-1)
	durable(t, r)
}
