package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
)

// payTries bounds how often a life is stored when its merges make it change.
const payTries = 3

// errAgain has an owed life looked at again.
var errAgain = errors.New("not yet")

// endLife brings a stored life to its end that nobody has open: what it holds is stored,
// then its pin goes, then its history, up to a marker. It returns when to come again; 0:
// all is done.
func (p *payments) endLife(ctx context.Context, l life) (next time.Duration, err error) {
	ds := p.docs
	if wait := p.rest(l, time.Now()); wait > 0 {
		return wait, nil
	}
	at, err := p.standingOf(ctx, l)
	if err != nil || at.lives {
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
		if !ds.has(l) { // else its keeper says it
			p.notStored(l, time.Now())
		}
		if _, based := found.Base(); !based && at.silent != nil { // its base may be on its way
			return 0, at.silent
		}
		return p.pay(ctx, l, found, at.pin != nil)
	}
	p.stored(l)
	if at.silent != nil { // whoever has it open may add to it
		return 0, at.silent
	}
	if next, ours := p.ours(l, found); !ours {
		return next, nil
	}
	if at.pin != nil {
		if at.pin.Owed {
			err = ds.o.Registry.Paid(ctx, l.doc, kvpin.Epoch(l.epoch))
		}
		// Never more than the whole: the clock of the node that left may be ahead.
		return max(min(ds.o.Grace-time.Since(at.pin.Left), ds.o.Grace), time.Second) + afterExpiry, err
	}
	if found.Last == 0 || found.OnlyMarker() {
		return 0, nil
	}
	if at.other != nil {
		if err := p.notifyOther(ctx, l, *at.other); err != nil {
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

// standing is how a life stands that may have ended.
type standing struct {
	pin    *kvpin.Pin // nil: it is not pinned any more
	other  *kvpin.Pin // of another life of the document, if that is pinned instead
	lives  bool       // somebody has it open, or will take it up: nothing is owed here
	silent error      // from a node that may have it open and does not say; nil if nobody has
}

// standingOf asks the registry and the region for a life. A node that is silent keeps a life
// from its end, and not from its store: it may be dead, and NATS finds that after minutes.
func (p *payments) standingOf(ctx context.Context, l life) (at standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	ds := p.docs
	pin, state, err := ds.o.Registry.Lookup(ctx, l.doc)
	if err != nil {
		if errors.Is(err, kvpin.ErrNotServed) {
			return standing{lives: true}, nil
		}
		return at, err
	}
	mine := state != kvpin.Free && string(pin.Epoch) == l.epoch
	if mine && len(pin.Holders) > 0 { // of an orphan the registry's sweep tells
		return standing{lives: true}, nil
	}
	epoch, ok, err := ds.Who(ctx, l.doc)
	switch {
	case errors.Is(err, bus.ErrNobody):
	case err != nil:
		at.silent = fmt.Errorf("%w: %w", errNoWord, err)
	case ok && epoch == l.epoch:
		return at, errAgain // perhaps it is being opened, or paid by another node
	}
	switch {
	case mine:
		at.pin = &pin
	case state != kvpin.Free:
		at.other = &pin
	}
	return at, nil
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
	if wait := p.mayPay(l.doc.License, time.Now()); wait > 0 {
		return wait, nil
	}
	err = p.alone(ctx, l, found)
	if errors.Is(err, errTaken) || errors.Is(err, errAgain) {
		p.unasked(l.doc.License)
		return 0, errAgain
	}
	if errors.Is(err, ErrDeleted) { // a node that was frozen, and goes on in it, finds that by the marker
		err = ds.lives.leaveMarker(ctx, l, found)
	}
	if err != nil && ds.ctx.Err() != nil { // the node ends, which says nothing of the store
		return 0, err
	}
	return p.came(l, err), err
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
	kept := k.kept()
	kept.Unfinished = p.knownUnfinished(l)
	r, err := ds.o.Rooms.Open(ctx, l.doc, l.epoch, false, kept)
	k.opened(r)
	if err != nil {
		return err
	}
	defer r.Close()
	defer ds.saves.end(ctx, k)
	defer func() { p.noteUnfinished(l, r.Unfinished()) }()
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
// the store holds. lives are those of which there is a history. Before anything is stored
// owes is called. last is the history that has grown last, nil if there is none: all lives of
// a document have their histories in one stream.
func (p *payments) former(ctx context.Context, lives []life, epoch string, owes func()) (last *oplog.Loaded, err error) {
	ds := p.docs
	for _, l := range lives {
		if l.epoch == epoch {
			continue
		}
		found, err := ds.lives.found(ctx, l)
		if err != nil {
			return nil, err
		}
		if last == nil || found.Last > last.Last {
			last = &found
		}
		if !found.Clean() {
			owes()
			if err := p.once(ctx, l, found); err != nil && !errors.Is(err, ErrDeleted) {
				return nil, fmt.Errorf("store what a former life holds: %w", err)
			}
		}
		if !found.OnlyMarker() {
			ds.purges.suspect(l, time.Now().Add(afterExpiry))
		}
	}
	return last, nil
}
