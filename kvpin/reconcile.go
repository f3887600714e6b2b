package kvpin

import (
	"context"
	"sync"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
)

// run works off what is owed while the node's lease is current: without it,
// nothing could be reconciled, and its return makes everything due.
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

// work reconciles one document with its pin, or owes it again.
func (ps *pins) work(ctx context.Context, d *document) {
	defer ps.docs.leaveTurn(d)
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	start := time.Now()
	p, h, err := ps.reconcile(ctx, d)
	ps.requests.observe("reconcile", start, err)
	if err != nil {
		ps.docs.owe(d, d.backoff())
		<-d.turn
		return
	}
	d.attempts = 0
	ps.docs.linger(d)
	news := d.news
	<-d.turn
	if news != nothing {
		ps.notifyRooms(d, h, p, news)
	}
}

// reconcile brings the pin in line with what this node wants: to be in, or to be out.
func (ps *pins) reconcile(ctx context.Context, d *document) (p Pin, h *Hold, err error) {
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
		d.news = nothing
		err = ps.reconcileRelease(ctx, d)
		return Pin{}, h, err
	case onlyRenew:
		p, err = ps.renewPin(ctx, d)
		return p, h, err
	default:
		p, err = ps.validate(ctx, d)
		return p, h, err
	}
}

// reconcileRelease takes this node out of a pin that it does not hold, and has the
// history purged if it was the last holder, as far as it knows.
func (ps *pins) reconcileRelease(ctx context.Context, d *document) error {
	last, p, err := ps.leave(ctx, d, Pin{})
	// One that landed without an answer has taken this node out before.
	landed := p.Epoch != "" && p.Epoch == d.was.Epoch && p.Region == ps.cfg.Region && len(p.Holders) == 0
	if err != nil || !last && !landed {
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

// notifyRooms passes the news on, one at a time per document and without the turn,
// so that Rooms may take its time and may release. What fails is owed.
func (ps *pins) notifyRooms(d *document, h *Hold, p Pin, what news) {
	rooms := ps.rooms.Load()
	if rooms == nil || h == nil {
		return
	}
	ps.docs.mu.Lock()
	if d.notifying == nil {
		d.notifying = make(chan struct{}, 1)
	}
	notifying := d.notifying
	ps.docs.mu.Unlock()
	select {
	case notifying <- struct{}{}:
	case <-h.ctx.Done():
		if !what.final() {
			return
		}
		notifying <- struct{}{}
	}
	defer func() { <-notifying }()
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
	} else if d.hold == h && d.news == what {
		d.news = nothing
	}
	<-d.turn
}

// reconcileAll works off all that is owed as far as ctx allows, and returns how much is
// left. Writes that may still land are none: they bear a lease that ends now.
func (ps *pins) reconcileAll(ctx context.Context) int {
	for {
		owed := ps.docs.owing()
		if owed == 0 || !ps.lease.isCurrent(time.Now()) || ctx.Err() != nil {
			return owed
		}
		pause.Between(ctx, 10*time.Millisecond, 20*time.Millisecond)
	}
}
