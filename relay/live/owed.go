package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
)

const (
	// payTries bounds how often a life is stored when its merges make it change.
	payTries = 3
	// renewOwed is how often the expiry of a pin is renewed that is owed: its backstop is
	// hours.
	renewOwed = 30 * time.Minute
	// payMost is the longest time between two attempts to pay while the store is away.
	payMost = time.Minute
	// stuckAgain is the longest time between two attempts to store a life that waits for an
	// operator: there may be many of them, and each is tried however the others fare.
	stuckAgain = 10 * time.Minute
)

// errAgain has an owed life looked at again.
var errAgain = errors.New("not yet")

// payments have the store keep what stored lives hold that have ended: what such a life
// holds and the store does not is owed. The record is its history, and a pin without
// holders that is marked so: nothing else has to survive. Any node of the region pays, by
// opening a room without users: it merges, stores and goes.
//
// A life's pin and its history go only when the store has what they hold. While the store
// is away it is asked for one life at a time, and ever more rarely, however many are owed.
type payments struct {
	docs *Documents

	mu      sync.Mutex
	backoff backoff
	renewed map[life]time.Time // pins that are owed: when their expiry was
	since   map[life]time.Time // lives that are not stored: since when that is known
	stuck   map[life]struct{}  // of these, those of which an operator was told
}

func (p *payments) init(ds *Documents) {
	p.docs, p.renewed, p.since, p.stuck = ds, map[life]time.Time{}, map[life]time.Time{}, map[life]struct{}{}
}

// backoff keeps a node that owes thousands of documents from asking a store that is away
// for each of them. Guarded by payments.mu.
type backoff struct {
	until time.Time
	wait  time.Duration
}

// rest returns how long an owed life waits for the store without being looked at: thousands that
// are owed while it is away cost nothing but their renewals.
func (p *payments) rest(l life, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if renewed, owed := p.renewed[l]; !owed || now.Sub(renewed) > renewOwed {
		return 0
	}
	return p.backoff.until.Sub(now)
}

// mayPay returns how long to wait until the store is worth asking. While it is away, it is
// asked for one life at a time.
func (p *payments) mayPay(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait = p.backoff.until.Sub(now); wait > 0 {
		return wait + time.Millisecond
	}
	if p.backoff.wait > 0 {
		p.backoff.until = now.Add(p.backoff.wait)
	}
	return 0
}

// paid notes what came of an attempt, and returns when to look again.
func (p *payments) paid(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if p.backoff.wait > 0 {
			p.docs.o.Log.Info("what ended lives hold is stored again")
		}
		p.backoff = backoff{}
		return time.Millisecond
	}
	if p.backoff.wait == 0 {
		p.docs.o.Log.Error("what ended lives hold cannot be stored; their histories keep it, and this is tried again", "err", err)
	}
	p.backoff.wait = min(max(2*p.backoff.wait, time.Second), payMost)
	wait := p.backoff.wait/2 + rand.N(p.backoff.wait/2)
	p.backoff.until = time.Now().Add(wait)
	return wait
}

// isItsOwn reports whether a life is not stored for what it is, or what the store has of its
// document. The store is not away then.
func isItsOwn(err error) bool {
	return isLoss(err) || errors.Is(err, errOtherStore) || errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrTooLarge)
}

// notPaid notes an attempt that failed for the life's own sake, which is said once, and
// returns when to look again. Others are not kept from the store by it.
func (p *payments) notPaid(l life, err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, told := p.stuck[l]; !told {
		p.stuck[l] = struct{}{}
		p.docs.o.Log.Error("what an ended life holds cannot be stored until an operator has looked; its history keeps it",
			"document", l.doc.String(), "epoch", l.epoch, "err", err)
	}
	return stuckAgain/2 + rand.N(stuckAgain/2)
}

// notStored notes since when it is known that a life is not stored.
func (p *payments) notStored(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since[l].IsZero() {
		p.since[l] = time.Now()
	}
}

// stored notes that the store has what a life holds.
func (p *payments) stored(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, l)
	delete(p.stuck, l)
}

// hasRenewed notes when the expiry of a life's pin was.
func (p *payments) hasRenewed(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed[l] = time.Now()
}

// forget drops what is known of a life of which nothing is left to do.
func (p *payments) forget(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.renewed, l)
	delete(p.since, l)
	delete(p.stuck, l)
}

// owing counts the lives that are not stored, and returns since when the oldest is known.
func (p *payments) owing(s *Storing) (oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Owed = len(p.since)
	for _, since := range p.since {
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	return oldest
}

// endLife brings a stored life to its end that nobody has open: what it holds is stored,
// then its pin goes, then its history, up to a marker. It returns when to come again; 0:
// all is done.
func (p *payments) endLife(ctx context.Context, l life) (next time.Duration, err error) {
	ds := p.docs
	if wait := p.rest(l, time.Now()); wait > 0 {
		return wait, nil
	}
	pin, other, lives, err := p.pinOf(ctx, l)
	if err != nil || lives {
		return 0, err
	}
	found, err := ds.lives.found(ctx, l)
	if errors.Is(err, history.ErrStreamMissing) {
		found, err = oplog.Loaded{}, nil
	}
	if err != nil {
		return 0, err
	}
	if !found.Clean() {
		p.notStored(l)
		return p.pay(ctx, l, found, pin != nil)
	}
	p.stored(l)
	if next, ours := p.ours(l, found); !ours {
		return next, nil
	}
	if pin != nil {
		if pin.Owed {
			err = ds.o.Registry.Paid(ctx, l.doc, kvpin.Epoch(l.epoch))
		}
		return max(ds.o.Grace-time.Since(pin.Left), time.Second) + afterExpiry, err
	}
	if found.Last == 0 || found.Ended {
		return 0, nil
	}
	if other != nil {
		if err := p.notifyOther(ctx, l, *other); err != nil {
			return lookAgain, err
		}
	}
	return 0, ds.lives.leaveMarker(ctx, l, found)
}

// ours reports whether this node may end a life of which the store has everything: only one
// that has that very store may, by rule 10 of docs/storage.md. Another one purges nothing,
// and comes again, since it may have yet to find out which store it has; next is 0 if it has
// none.
func (p *payments) ours(l life, found oplog.Loaded) (next time.Duration, ours bool) {
	store, id := p.docs.storeOf(l.doc.License)
	base, based := found.Base()
	switch {
	case store == nil:
		return 0, false // those that have it find the life as well
	case based && !found.Ended && base.Store != id:
		return payMost, false
	}
	return 0, true
}

// notifyOther has the holders of the life that is pinned look at what another life has
// stored beside it: two regions may both have had the document. Until they have, the
// other life's history is not purged, so that this is not forgotten.
func (p *payments) notifyOther(ctx context.Context, l life, pin kvpin.Pin) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	_, err := p.docs.o.Registry.StoreChanged(ctx, l.doc, pin, false)
	return err
}

// pinOf returns the pin of a life, nil if it is not pinned any more; other is then the
// pin of another life, if there is one. lives says that somebody has it open, or will take
// it up: then nothing is owed here.
func (p *payments) pinOf(ctx context.Context, l life) (_, other *kvpin.Pin, lives bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	ds := p.docs
	pin, state, err := ds.o.Registry.Lookup(ctx, l.doc)
	if err != nil {
		if errors.Is(err, kvpin.ErrNotServed) {
			return nil, nil, true, nil
		}
		return nil, nil, false, err
	}
	mine := state != kvpin.Free && string(pin.Epoch) == l.epoch
	if mine && len(pin.Holders) > 0 { // of an orphan the registry's sweep tells
		return nil, nil, true, nil
	}
	epoch, ok, err := ds.Who(ctx, l.doc)
	switch {
	case errors.Is(err, bus.ErrNobody):
	case err != nil:
		return nil, nil, false, fmt.Errorf("%w: %w", errNoWord, err)
	case ok && epoch == l.epoch:
		return nil, nil, false, errAgain // perhaps it is being opened, or paid by another node
	}
	switch {
	case mine:
		return &pin, nil, false, nil
	case state != kvpin.Free:
		return nil, &pin, false, nil
	}
	return nil, nil, false, nil
}

// pay stores what a life holds, and returns when to look at it again.
func (p *payments) pay(ctx context.Context, l life, found oplog.Loaded, pinned bool) (next time.Duration, err error) {
	ds := p.docs
	if pinned {
		if err := ds.o.Registry.StillOwed(ctx, l.doc, kvpin.Epoch(l.epoch)); err != nil {
			return 0, err
		}
		p.hasRenewed(l)
	}
	if wait := p.mayPay(time.Now()); wait > 0 {
		return wait, nil
	}
	err = p.alone(ctx, l, found)
	if errors.Is(err, errTaken) || errors.Is(err, errAgain) {
		return 0, errAgain
	}
	if errors.Is(err, ErrDeleted) { // a node that was frozen, and goes on in it, finds that by the marker
		err = ds.lives.leaveMarker(ctx, l, found)
	}
	if isItsOwn(err) {
		next = p.notPaid(l, err)
	} else {
		next = p.paid(err)
	}
	if err != nil {
		ds.o.Log.Debug("what a life holds cannot be stored yet", "document", l.doc.String(), "epoch", l.epoch, "err", err)
	}
	return next, err
}

// errTaken ends a payment: somebody opens the document here, or has it open.
var errTaken = errors.New("the document is taken up here")

// payment is an owed life that is being stored.
type payment struct {
	giveWay context.CancelCauseFunc
	done    chan struct{} // closed when its room is
}

// alone stores an owed life, unless this node has a room of the life: it never has two of
// them, since a node does not hear itself. Whoever wants to open the document has the
// payment give way.
func (p *payments) alone(ctx context.Context, l life, found oplog.Loaded) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	entry := &payment{cancel, make(chan struct{})}
	if !p.docs.table.beginPayment(l, entry) {
		return errTaken
	}
	defer p.docs.table.endPayment(l, entry)
	err := p.once(ctx, l, found)
	if err != nil && errors.Is(context.Cause(ctx), errTaken) {
		return errTaken
	}
	return err
}

// once opens a room without users and stores it.
func (p *payments) once(ctx context.Context, l life, found oplog.Loaded) error {
	ds := p.docs
	ctx, cancel := context.WithTimeout(ctx, 2*storeTime)
	defer cancel()
	if _, based := found.Base(); !based {
		return p.setAside(ctx, l)
	}
	k, err := ds.keep(ctx, l.doc, l.epoch)
	if err != nil {
		return err
	}
	k.paying = true
	r, err := ds.o.Rooms.Open(ctx, l.doc, l.epoch, false, k.kept())
	k.opened(r)
	if err != nil {
		return err
	}
	defer r.Close()
	defer ds.saves.end(ctx, k)
	for range payTries {
		if err := k.save(ctx); err != nil {
			return err
		}
		if err := r.Durable(ctx); err != nil { // what was merged
			return err
		}
		if clean, err := r.Clean(ctx); err != nil || clean {
			return err
		}
	}
	return errAgain
}

// former pays what former lives of a document owe, before another one begins on what
// the store holds.
func (p *payments) former(ctx context.Context, doc docid.Document, epoch string) error {
	ds := p.docs
	lives, err := ds.lives.of(ctx, doc)
	if err != nil {
		return err
	}
	for _, l := range lives {
		if l.epoch == epoch {
			continue
		}
		found, err := ds.lives.found(ctx, l)
		if err != nil {
			return err
		}
		if !found.Clean() {
			if err := p.once(ctx, l, found); err != nil && !errors.Is(err, ErrDeleted) {
				return fmt.Errorf("store what a former life holds: %w", err)
			}
		}
		if !found.Ended {
			ds.purges.suspect(l, time.Now().Add(afterExpiry))
		}
	}
	return nil
}
