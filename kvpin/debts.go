package kvpin

import (
	"context"
	"sync"
	"time"
)

// workDebts works off what is owed while the node's lease is current: without it,
// nothing could be settled, and its return makes everything due.
func (ps *pins) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		var ready []*document
		wait := time.Minute // the next lease wakes it
		if now := time.Now(); ps.lease.isCurrent(now) {
			ready, wait = ps.docs.takeDue(now)
		}
		for _, d := range ready {
			ps.requests.pace.begin()
			running.Go(func() {
				defer ps.requests.pace.end()
				ps.work(ctx, d)
			})
		}
		t := time.NewTimer(wait)
		select {
		case <-ps.docs.kick:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// work pays one debt, or owes it again.
func (ps *pins) work(ctx context.Context, d *document) {
	defer ps.docs.leaveTurn(d)
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	start := time.Now()
	p, h, err := ps.settle(ctx, d)
	ps.requests.observe("settle", start, err)
	if err != nil {
		ps.docs.owe(d, d.backoff())
		<-d.turn
		return
	}
	d.attempts = 0
	ps.docs.linger(d)
	tell := d.tell
	<-d.turn
	if tell != nothing {
		ps.tellRooms(d, h, p, tell)
	}
}

// settle brings the pin in line with what this node wants: to be in, or to be out.
func (ps *pins) settle(ctx context.Context, d *document) (p Pin, h *Hold, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*ps.cfg.Deadline)
	defer cancel()
	h = d.hold
	if h != nil {
		h.mu.Lock()
		left := h.left
		h.mu.Unlock()
		if left { // a release whose turn had not come
			ps.drop(d, h)
		}
	}
	ps.docs.mu.Lock()
	onlyRenew := d.backstop
	d.backstop = false
	ps.docs.mu.Unlock()
	switch {
	case d.hold == nil:
		d.tell = nothing
		err = ps.settleRelease(ctx, d)
		return Pin{}, h, err
	case onlyRenew:
		p, err = ps.renewPin(ctx, d)
		return p, h, err
	default:
		p, err = ps.validate(ctx, d)
		return p, h, err
	}
}

// settleRelease takes this node out of a pin that it does not hold, and has the
// history purged if it was the last holder, as far as it knows.
func (ps *pins) settleRelease(ctx context.Context, d *document) error {
	last, p, err := ps.leave(ctx, d, Pin{})
	if err != nil || !last {
		return err
	}
	if p.Epoch == "" { // gone already: the release had landed
		p = d.was
	}
	d.was = Pin{}
	if p.Epoch != "" && ps.cfg.Unpinned != nil {
		ps.cfg.Unpinned(d.name, p)
	}
	return nil
}

// tellRooms passes the news on, one at a time per document and without the turn,
// so that Rooms may take its time and may release. What fails is owed.
func (ps *pins) tellRooms(d *document, h *Hold, p Pin, what news) {
	rooms := ps.rooms.Load()
	if rooms == nil || h == nil {
		return
	}
	ps.docs.mu.Lock()
	if d.telling == nil {
		d.telling = make(chan struct{}, 1)
	}
	telling := d.telling
	ps.docs.mu.Unlock()
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
	case renewed:
		(*rooms).Renewed(d.name)
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
		ps.cfg.Log.Warn("a room could not follow its pin, trying again", "document", d.name, "error", err)
		ps.docs.owe(d, d.backoff())
	} else if d.hold == h && d.tell == what {
		d.tell = nothing
	}
	<-d.turn
}

// settleAll works off all debts as far as ctx allows, and returns how many are
// left. Writes that may still land are none: they bear a lease that ends now.
func (ps *pins) settleAll(ctx context.Context) int {
	for {
		owed := ps.docs.unsettled()
		if owed == 0 || !ps.lease.isCurrent(time.Now()) || ctx.Err() != nil {
			return owed
		}
		pause(ctx, 10*time.Millisecond, 20*time.Millisecond)
	}
}
