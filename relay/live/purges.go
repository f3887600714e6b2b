package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
)

// purges remove the histories of documents whose pins are gone. The node that took
// the last holder out owes it; what crashes left behind the sweep finds. No history is
// purged of an epoch that the registry or a room of the region knows.
type purges struct {
	docs *Documents
	wake chan struct{}

	mu    sync.Mutex
	owed  map[life]time.Time // when to look
	lanes map[docid.LicenseRegion]*lane
}

// lane has the lives of one license region ended, of whose registry and store those of
// others are not to wait. Guarded by purges.mu.
type lane struct {
	due      []life
	cleaners int
}

const (
	// afterExpiry is how long after the grace period a pin is surely gone: the
	// server's expiry was measured up to 0.3 s late.
	afterExpiry = 1500 * time.Millisecond
	// lookAgain is how long to wait when the registry or the region cannot say.
	lookAgain = 10 * time.Second
	// cleaners is how many lives of a license region are ended at once: each waits for a
	// registry that may be on another continent, and a busy node owes a dozen a second.
	cleaners = 16
)

func (p *purges) init(ds *Documents) {
	p.docs, p.wake = ds, make(chan struct{}, 1)
	p.owed, p.lanes = map[life]time.Time{}, map[docid.LicenseRegion]*lane{}
}

// owe has the history of an epoch removed once its pin has expired.
func (p *purges) owe(doc docid.Document, epoch string, expiry time.Time) {
	p.at(life{doc, epoch}, expiry.Add(afterExpiry))
}

// suspect has the history of an epoch looked at again and then removed, unless
// it is owed already.
func (p *purges) suspect(l life, at time.Time) (isNew bool) {
	p.mu.Lock()
	_, known := p.owed[l]
	if !known {
		p.owed[l] = at
	}
	p.mu.Unlock()
	p.signal()
	return !known
}

func (p *purges) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *purges) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var working sync.WaitGroup
	defer working.Wait()
	for {
		due, next := p.due(time.Now())
		for _, l := range due {
			if lane := p.line(l); lane != nil {
				working.Go(func() { p.clean(ctx, lane) })
			}
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// due returns the lives that are due, and how long until the next one is.
func (p *purges) due(now time.Time) (due []life, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = time.Hour
	for l, at := range p.owed {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		due = append(due, l)
		delete(p.owed, l)
	}
	if len(due) > 0 {
		next = 0
	}
	return due, max(next, time.Millisecond)
}

// line puts a life into its lane, and returns that if it is to have another cleaner.
func (p *purges) line(l life) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.lanes[l.doc.License]
	if found == nil {
		found = new(lane)
		p.lanes[l.doc.License] = found
	}
	found.due = append(found.due, l)
	if found.cleaners == cleaners {
		return nil
	}
	found.cleaners++
	return found
}

// clean works a lane off, with others, until nothing is left in it or ctx ends.
func (p *purges) clean(ctx context.Context, of *lane) {
	for {
		p.mu.Lock()
		if len(of.due) == 0 || ctx.Err() != nil {
			of.cleaners--
			p.mu.Unlock()
			return
		}
		l := of.due[0]
		of.due = of.due[1:]
		p.mu.Unlock()
		p.work(ctx, l)
	}
}

// work does what is owed to one life, or keeps it.
func (p *purges) work(ctx context.Context, l life) {
	var next time.Duration
	var err error
	here := p.docs.has(l)
	if docid.StoredEpoch(l.epoch) {
		next, err = p.docs.payments.endLife(ctx, l)
	} else {
		err = p.remove(ctx, l)
	}
	if err != nil {
		next = cmp.Or(next, lookAgain)
	}
	if ctx.Err() != nil {
		p.at(l, time.Now()) // it stays owed
		return
	}
	p.docs.payments.looked(l, err, time.Now())
	if next > 0 {
		p.at(l, time.Now().Add(next))
		return
	}
	if here || p.docs.has(l) {
		// Its keeper has yet to take from the payments what they know, by takenUp; one that does
		// not open never will.
		if p.docs.payments.owes(l) {
			p.at(l, time.Now().Add(lookAgain))
		}
		return
	}
	p.docs.payments.forget(l)
}

// at has a life looked at at a time.
func (p *purges) at(l life, at time.Time) {
	p.mu.Lock()
	p.owed[l] = at
	p.mu.Unlock()
	p.signal()
}

// any reports whether anything is owed to lives of a license region.
func (p *purges) any(license docid.LicenseRegion) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of := p.lanes[license]; of != nil && len(of.due) > 0 {
		return true
	}
	for l := range p.owed {
		if l.doc.License == license {
			return true
		}
	}
	return false
}

// remove removes the history of an epoch that has ended. What is removed is
// settled before the question whether it has: should a room restore the document
// meanwhile, its snapshot comes later and stays.
func (p *purges) remove(ctx context.Context, l life) error {
	last, err := p.docs.lives.last(ctx, l)
	if err != nil || last == 0 {
		return err
	}
	if gone, err := p.gone(ctx, l); err != nil || !gone {
		return err
	}
	return p.docs.lives.purge(ctx, l, last)
}

// errNoWord: somebody in the region has a room of the document, and did not say in
// time which.
var errNoWord = errors.New("a room does not answer")

// gone reports whether the epoch has ended: neither the registry nor a room of
// the region knows it. A registry that lost its pins knows of none, so silence of
// the rooms is no answer either.
func (p *purges) gone(ctx context.Context, l life) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	pin, state, err := p.docs.o.Registry.Lookup(ctx, l.doc)
	if errors.Is(err, kvpin.ErrNotServed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if state != kvpin.Free && string(pin.Epoch) == l.epoch {
		return false, nil // somebody came back; who leaves last will owe it
	}
	epoch, ok, err := p.docs.Who(ctx, l.doc)
	switch {
	case errors.Is(err, bus.ErrNobody):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w: %w", errNoWord, err)
	}
	return ok && epoch != l.epoch, nil
}
