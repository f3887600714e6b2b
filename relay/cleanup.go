package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
)

// cleanup removes the history of documents whose pin is gone. The node that took
// the last holder out owes it; what crashes left behind the sweep finds.
type cleanup struct {
	node *Node
	wake chan struct{}

	mu   sync.Mutex
	debt map[owed]time.Time // when to look
}

type owed struct {
	doc   docid.Document
	epoch string
}

const (
	// afterExpiry is how long after the grace period a pin is surely gone: the
	// server's expiry was measured up to 0.3 s late.
	afterExpiry = 1500 * time.Millisecond
	// lookAgain is how long to wait when the registry or the region cannot say.
	lookAgain = 10 * time.Second
	// cleaners is how many debts are paid at once: each waits for a registry that
	// may be on another continent, and a busy node owes a dozen a second.
	cleaners = 16
)

func (c *cleanup) init(n *Node) {
	c.node, c.wake, c.debt = n, make(chan struct{}, 1), map[owed]time.Time{}
}

// owe has the history of an epoch removed once its pin has expired.
func (c *cleanup) owe(doc docid.Document, epoch string, expiry time.Time) {
	c.mu.Lock()
	c.debt[owed{doc, epoch}] = expiry.Add(afterExpiry)
	c.mu.Unlock()
	c.signal()
}

// suspect has the history of an epoch looked at again and then removed, unless
// it is owed already.
func (c *cleanup) suspect(o owed, at time.Time) (isNew bool) {
	c.mu.Lock()
	_, known := c.debt[o]
	if !known {
		c.debt[o] = at
	}
	c.mu.Unlock()
	c.signal()
	return !known
}

func (c *cleanup) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *cleanup) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	slots := make(chan struct{}, cleaners)
	var working sync.WaitGroup
	defer working.Wait()
	for {
		due, next := c.due(time.Now())
		for _, o := range due {
			slots <- struct{}{}
			working.Go(func() {
				c.work(ctx, o)
				<-slots
			})
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// due returns the debts that are due, and how long until the next one is.
func (c *cleanup) due(now time.Time) (due []owed, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = time.Hour
	for o, at := range c.debt {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		due = append(due, o)
		delete(c.debt, o)
	}
	if len(due) > 0 {
		next = 0
	}
	return due, max(next, time.Millisecond)
}

// work pays one debt, or keeps it.
func (c *cleanup) work(ctx context.Context, o owed) {
	if err := c.remove(ctx, o); err != nil && ctx.Err() == nil {
		c.mu.Lock()
		c.debt[o] = time.Now().Add(lookAgain)
		c.mu.Unlock()
		c.signal()
	}
}

// remove removes the history of an epoch that has ended. What is removed is
// settled before the question whether it has: should a room restore the document
// meanwhile, its snapshot comes later and stays.
func (c *cleanup) remove(ctx context.Context, o owed) error {
	h := c.node.cfg.History
	subject := o.doc.UpdatesSubject(h.Shard(o.doc.PinKey()), o.epoch)
	last, err := h.Last(ctx, subject)
	if errors.Is(err, history.ErrStreamMissing) {
		return nil
	}
	if err != nil || last == 0 {
		return err
	}
	if gone, err := c.gone(ctx, o); err != nil || !gone {
		return err
	}
	return h.PurgeBelow(ctx, subject, last+1)
}

// errNoWord: somebody in the region has a room of the document, and did not say in
// time which.
var errNoWord = errors.New("a room does not answer")

// gone reports whether the epoch has ended: neither the registry nor a room of
// the region knows it. A registry that lost its pins knows of none, so silence of
// the rooms is no answer either.
func (c *cleanup) gone(ctx context.Context, o owed) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	pin, state, err := c.node.cfg.Registry.Lookup(ctx, o.doc)
	if errors.Is(err, kvpin.ErrNotServed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if state != kvpin.Free && string(pin.Epoch) == o.epoch {
		return false, nil // somebody came back; who leaves last will owe it
	}
	epoch, ok, err := c.node.who(ctx, o.doc)
	switch {
	case errors.Is(err, bus.ErrNobody):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w: %w", errNoWord, err)
	}
	return ok && epoch != o.epoch, nil
}
