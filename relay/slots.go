package relay

import (
	"context"
	"time"
)

// queueTimeout is how long a handshake waits for its turn in a storm.
const queueTimeout = 5 * time.Second

// slots are places of handshakes that are being handled, so that a storm does not
// starve the sessions that are there.
type slots chan struct{}

// enter takes one of the slots, after a while if need be.
func (s slots) enter(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(queueTimeout)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return nil
	case <-timer.C:
		return errOverloaded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) leave() { <-s }

// turn is a handshake's slot. It belongs to one goroutine.
type turn struct {
	slots slots
	has   bool
}

func (t *turn) take(ctx context.Context) error {
	err := t.slots.enter(ctx)
	t.has = err == nil
	return err
}

func (t *turn) end() {
	if t.has {
		t.slots.leave()
		t.has = false
	}
}

// outside does something slow, and has no slot meanwhile. It fails if there is none
// for it afterwards.
func (t *turn) outside(ctx context.Context, slow func()) error {
	t.end()
	slow()
	return t.take(ctx)
}
