package kvpin

import (
	"context"
	"sync"
	"time"
)

// workDebts works off what is owed while the node's lease is current: without it,
// nothing could be settled, and its return makes everything due.
func (b *bucket) workDebts(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		ready, wait := b.takeDue(time.Now())
		for _, d := range ready {
			b.pace.begin()
			running.Go(func() {
				defer b.pace.end()
				b.work(ctx, d)
			})
		}
		t := time.NewTimer(wait)
		select {
		case <-b.kick:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// takeDue takes the debts that are due, and says when to come again. The taken
// ones count as used, so that they are not forgotten.
func (b *bucket) takeDue(now time.Time) (ready []*document, wait time.Duration) {
	wait = time.Minute
	if _, ok := b.lease.current(now); !ok {
		return nil, wait // the next lease kicks
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for d := range b.due {
		if rest := d.next.Sub(now); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		delete(b.due, d)
		d.users++
		ready = append(ready, d)
	}
	return ready, wait
}

// work pays one debt, or owes it again.
func (b *bucket) work(ctx context.Context, d *document) {
	defer b.leaveTurn(d)
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	start := time.Now()
	p, h, err := b.settle(ctx, d)
	b.observe("settle", start, err)
	if err != nil {
		b.owe(d, d.backoff())
		<-d.turn
		return
	}
	d.attempts = 0
	b.linger(d)
	tell := d.tell
	<-d.turn
	if tell != nothing {
		b.tellRooms(d, h, p, tell)
	}
}

// settle brings the pin in line with what this node wants: to be in, or to be out.
func (b *bucket) settle(ctx context.Context, d *document) (p Pin, h *Hold, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*b.cfg.Deadline)
	defer cancel()
	h = d.hold
	if h != nil {
		h.mu.Lock()
		left := h.left
		h.mu.Unlock()
		if left { // a release whose turn had not come
			b.drop(d, h)
		}
	}
	b.mu.Lock()
	onlyRenew := d.backstop
	d.backstop = false
	b.mu.Unlock()
	switch {
	case d.hold == nil:
		d.tell = nothing
		err = b.settleRelease(ctx, d)
		return Pin{}, h, err
	case onlyRenew:
		p, err = b.renewPin(ctx, d)
		return p, h, err
	default:
		p, err = b.validate(ctx, d)
		return p, h, err
	}
}

// settleRelease takes this node out of a pin that it does not hold, and has the
// history purged if it was the last holder, as far as it knows.
func (b *bucket) settleRelease(ctx context.Context, d *document) error {
	last, p, err := b.leave(ctx, d, Pin{})
	if err != nil || !last {
		return err
	}
	if p.Epoch == "" { // gone already: the release had landed
		p = d.was
	}
	d.was = Pin{}
	if p.Epoch != "" && b.cfg.Unpinned != nil {
		b.cfg.Unpinned(d.name, p)
	}
	return nil
}

// tellRooms passes the news on, one at a time per document and without the turn,
// so that Rooms may take its time and may release. What fails is owed.
func (b *bucket) tellRooms(d *document, h *Hold, p Pin, what news) {
	rooms := b.rooms.Load()
	if rooms == nil || h == nil {
		return
	}
	b.mu.Lock()
	if d.telling == nil {
		d.telling = make(chan struct{}, 1)
	}
	telling := d.telling
	b.mu.Unlock()
	select {
	case telling <- struct{}{}:
	case <-h.ctx.Done():
		if !what.final() {
			return
		}
		telling <- struct{}{}
	}
	defer func() { <-telling }()
	var err error
	switch what {
	case moved:
		(*rooms).Moved(d.name, p)
	case ended:
		(*rooms).Ended(d.name, p)
	case restored:
		err = (*rooms).Restored(h.ctx, d.name, p)
	case rebased:
		err = (*rooms).Rebased(h.ctx, d.name, p)
	}
	if h.ctx.Err() != nil {
		return
	}
	d.turn <- struct{}{}
	if err != nil {
		b.cfg.Log.Warn("a room could not follow its pin, trying again", "document", d.name, "error", err)
		b.owe(d, d.backoff())
	} else if d.hold == h && d.tell == what {
		d.tell = nothing
	}
	<-d.turn
}

// settleAll works off all debts as far as ctx allows, and returns how many are
// left. Writes that may still land are none: they bear a lease that ends now.
func (b *bucket) settleAll(ctx context.Context) int {
	for {
		b.mu.Lock()
		owed := b.owedLocked()
		for _, d := range b.docs {
			if d.hold == nil && d.users > 0 {
				owed++ // one that is being worked off
			}
		}
		b.mu.Unlock()
		if _, ok := b.lease.current(time.Now()); owed == 0 || !ok || ctx.Err() != nil {
			return owed
		}
		pause(ctx, 10*time.Millisecond, 20*time.Millisecond)
	}
}

// owedLocked counts the debts, without those that only wait for a late write.
func (b *bucket) owedLocked() (owed int) {
	for d := range b.due {
		if !d.lingering {
			owed++
		}
	}
	return owed
}
