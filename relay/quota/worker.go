package quota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kickLocked has the app's worker run, starting one if there is none.
func (a *app) kickLocked() {
	if a.running {
		a.wakeLocked()
		return
	}
	a.running = a.places.spawn(a.work)
}

func (a *app) wakeLocked() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Pauses of a worker.
const (
	pollEvery  = 50 * time.Millisecond  // while others are to answer
	retryEvery = 200 * time.Millisecond // while the registry does not
	contention = 2 * time.Millisecond   // grows with each lost race
)

// work does one thing at a time to the app's record until nothing is left to do.
func (a *app) work() {
	ctx := a.places.ctx
	a.places.watch(a.id.License)
	lost := 0 // races in a row
	for {
		pause := time.Duration(0)
		err := a.step(ctx)
		switch {
		case errors.Is(err, ErrConflict):
			lost++
			pause = rand.N(contention * time.Duration(min(lost*lost, 20)))
		case err != nil:
			pause = retryEvery
		default:
			lost = 0
		}
		a.mu.Lock()
		if err == nil && !a.dirty && !a.stale && len(a.waiting) == 0 || ctx.Err() != nil || err != nil && a.restLocked(err) {
			a.running = false
			a.mu.Unlock()
			return
		}
		if err == nil && !a.dirty && !a.stale {
			pause = pollEvery
			a.stale = true
		}
		a.mu.Unlock()
		a.sleep(ctx, pause, err)
	}
}

// restLocked reports whether a worker that failed can leave its work to the next
// tick: nobody waits.
func (a *app) restLocked(err error) bool {
	a.dropLocked()
	return len(a.waiting) == 0 && !errors.Is(err, ErrConflict)
}

func (a *app) sleep(ctx context.Context, d time.Duration, err error) {
	if d == 0 {
		return
	}
	wake := a.wake
	if err != nil {
		wake = nil // hints do not end a back-off
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// step reads the record if need be, decides about those that wait, and writes
// what follows from it. Errors other than ErrConflict mean that the registry
// gives no answer.
func (a *app) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.places.config.Timeout)
	defer cancel()
	registry := a.places.config.Registry
	keys := registry.Keys(a.id.License)
	me, current := a.me()
	if keys == nil || !current {
		a.failAll(fmt.Errorf("%w: no current lease", ErrUnavailable))
		return ErrUnavailable
	}
	if err := a.refresh(ctx, keys); err != nil {
		return err
	}
	a.mu.Lock()
	view := a.view
	a.mu.Unlock()
	gone, err := a.gone(ctx, view, me.node)
	if err != nil {
		return err
	}
	a.mu.Lock()
	if a.view != view {
		a.mu.Unlock()
		return nil // newer already; its dead are not known yet
	}
	next := a.decideLocked(view, me, gone)
	if next == nil {
		a.mu.Unlock()
		return nil
	}
	next.seal()
	a.unsettled = append(a.unsettled, next)
	a.unsettledAt = a.revision
	expect := a.revision
	a.mu.Unlock()

	began := time.Now()
	ttl := keyTTL
	if len(next.Nodes) == 0 {
		ttl = emptyTTL
	}
	revision, err := keys.Update(ctx, a.key, next.encode(), expect, ttl)
	a.places.stats.writes.Add(1)
	if errors.Is(err, ErrConflict) {
		a.places.stats.conflicts.Add(1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomeLocked(next, expect, revision, began, err)
	return err
}

// refresh reads the record when what is known of it may be old.
func (a *app) refresh(ctx context.Context, keys Keys) error {
	a.mu.Lock()
	fresh := a.view != nil && !a.stale
	a.mu.Unlock()
	if fresh {
		return nil
	}
	began := time.Now()
	value, revision, err := keys.Get(ctx, a.key)
	if err != nil {
		return err
	}
	r, err := decodeRecord(value)
	if err != nil {
		a.places.config.Log.Error("cannot read the record of an app's limits", "app", a.id.String(), "err", err)
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = false
	a.confirmed = began
	// The watch may have overtaken the answer.
	if a.view == nil || revision > a.revision || revision != a.revision && a.written.Before(began) {
		a.setViewLocked(r, revision)
	}
	return nil
}

// gone returns the nodes of the record whose leases have ended, without this one.
func (a *app) gone(ctx context.Context, r *record, me string) (map[string]bool, error) {
	var gone map[string]bool
	for i := range r.Nodes {
		e := &r.Nodes[i]
		if e.Node == me {
			continue
		}
		current, err := a.places.config.Registry.LeaseCurrent(ctx, a.id.License, e.Node, e.Lease)
		if err != nil {
			return nil, err
		}
		if !current {
			if gone == nil {
				gone = map[string]bool{}
			}
			gone[e.Node] = true
		}
	}
	return gone, nil
}

// outcomeLocked takes in the outcome of a write.
func (a *app) outcomeLocked(next *record, expect, revision uint64, began time.Time, err error) {
	if err == nil {
		a.confirmed = began
		if revision > a.revision || a.revision == expect {
			a.setViewLocked(next, revision)
		}
	} else {
		a.dirty, a.stale = true, true
		if errors.Is(err, ErrConflict) {
			a.unsettled = slices.DeleteFunc(a.unsettled, func(r *record) bool { return r == next })
		}
	}
	waiting := a.waiting[:0]
	for _, w := range a.waiting {
		switch {
		case w.taken && err == nil && !w.over:
			a.giveLocked(w)
		case w.taken:
			// Not admitted: the write failed, or came too late for it.
			a.returnLocked(w)
			a.dirty = true
			if !w.over {
				waiting = append(waiting, w)
			}
		case !w.over:
			waiting = append(waiting, w)
		}
	}
	clear(a.waiting[len(waiting):])
	a.waiting = waiting
}

// failAll refuses everybody who waits.
func (a *app) failAll(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.waiting {
		if !w.over {
			w.refuse(err)
		}
	}
	a.waiting = nil
}

// dropLocked forgets those who do not wait any more.
func (a *app) dropLocked() {
	waiting := a.waiting[:0]
	for _, w := range a.waiting {
		if !w.over {
			waiting = append(waiting, w)
		}
	}
	clear(a.waiting[len(waiting):])
	a.waiting = waiting
}
