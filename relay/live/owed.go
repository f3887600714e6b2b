package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
)

// What a stored life holds and the store does not is owed. The record is the history
// itself, and a pin without holders that is marked so: nothing else has to survive. Any
// node of the region pays, by opening a room without users: it merges, stores and goes.

const (
	// lastStore is how long the last one to leave waits for the store before the
	// document is owed.
	lastStore = 5 * time.Second
	// markerLife is how long an ended life leaves a marker in its history: a node that
	// was frozen, and goes on in it, loads what it stands on first.
	markerLife = time.Hour
	// payTries bounds how often a life is stored when its merges make it change.
	payTries = 3
	// renewOwed is how often the expiry of a pin is renewed that is owed: its backstop is
	// hours.
	renewOwed = 30 * time.Minute
	// payMost is the longest time between two attempts to pay while the store is away.
	payMost = time.Minute
)

// errAgain has an owed life looked at again.
var errAgain = errors.New("not yet")

// backoff keeps a node that owes thousands of documents from asking a store that is away
// for each of them. Guarded by purges.mu.
type backoff struct {
	until time.Time
	wait  time.Duration
}

// rest returns how long an owed life waits for the store without being looked at: thousands that
// are owed while it is away cost nothing but their renewals.
func (p *purges) rest(o owed, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if renewed, owed := p.renewed[o]; !owed || now.Sub(renewed) > renewOwed {
		return 0
	}
	return p.backoff.until.Sub(now)
}

// mayPay returns how long to wait until the store is worth asking. While it is away, it is
// asked for one life at a time.
func (p *purges) mayPay(now time.Time) (wait time.Duration) {
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
func (p *purges) paid(err error) time.Duration {
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

// owing counts the lives that are not stored, and returns since when the oldest is known.
func (p *purges) owing(s *Storing) (oldest time.Time) {
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

// storeLast has the store keep a document that everybody left. Should another node have
// it open, that one does. What is not stored in time is owed.
func (ds *Documents) storeLast(d *Document) {
	if d.keeper == nil || !d.room.Alone() || d.hasMoved() || ds.isDeleted(d) {
		return
	}
	ctx, cancel := context.WithTimeout(ds.shutdown, lastStore)
	defer cancel()
	select {
	case ds.saves.slots <- struct{}{}:
		defer func() { <-ds.saves.slots }()
	case <-ctx.Done():
		return
	}
	err := d.keeper.save(ctx)
	switch {
	case err == nil:
	case errors.Is(err, ErrDeleted):
		ds.deleted(d.doc)
	default:
		ds.saves.failed(d.keeper, err)
	}
}

// Covered is for kvpin.Config: whether the store has everything of a life whose last
// holder leaves.
func (ds *Documents) Covered(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
	if d := ds.Get(doc); d != nil && d.keeper != nil && d.room.Epoch() == string(epoch) {
		if ds.isDeleted(d) {
			return true, nil // nothing of it is to be stored
		}
		clean, err := d.room.Clean(ctx)
		d.keeper.owes.Store(err != nil || !clean)
		return clean, err
	}
	found, err := ds.found(ctx, owed{doc, string(epoch)})
	return err == nil && found.Clean(), err // of one that could not be opened there is nothing
}

func (ds *Documents) subject(o owed) string {
	return o.doc.UpdatesSubject(ds.o.History.Shard(o.doc.PinKey()), o.epoch)
}

// found is what the history of a life holds.
func (ds *Documents) found(ctx context.Context, o owed) (oplog.Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return oplog.Load(ctx, ds.o.History, ds.subject(o), func(oplog.Kind, []byte, bool) {}, func(error) {})
}

// endLife brings a stored life to its end that nobody has open: what it holds is stored,
// then its pin goes, then its history, up to a marker. It returns when to come again; 0:
// all is done.
func (p *purges) endLife(ctx context.Context, o owed) (next time.Duration, err error) {
	ds := p.docs
	if wait := p.rest(o, time.Now()); wait > 0 {
		return wait, nil
	}
	pin, other, lives, err := p.pinOf(ctx, o)
	if err != nil || lives {
		return 0, err
	}
	found, err := ds.found(ctx, o)
	if errors.Is(err, history.ErrStreamMissing) {
		found, err = oplog.Loaded{}, nil
	}
	if err != nil {
		return 0, err
	}
	if !found.Clean() {
		p.mu.Lock()
		if p.since[o].IsZero() {
			p.since[o] = time.Now()
		}
		p.mu.Unlock()
		return p.pay(ctx, o, found, pin != nil)
	}
	p.mu.Lock()
	delete(p.since, o)
	p.mu.Unlock()
	if pin != nil {
		if pin.Owed {
			err = ds.o.Registry.Paid(ctx, o.doc, kvpin.Epoch(o.epoch))
		}
		return max(ds.o.Grace-time.Since(pin.Left), time.Second) + afterExpiry, err
	}
	if found.Last == 0 || found.Ended {
		return 0, nil
	}
	if other != nil {
		if err := ds.notifyOther(ctx, o, *other); err != nil {
			return lookAgain, err
		}
	}
	return 0, ds.leaveMarker(ctx, o, found)
}

// notifyOther has the holders of the life that is pinned look at what another life has
// stored beside it: two regions may both have had the document. Until they have, the
// other life's history is not purged, so that this is not forgotten.
func (ds *Documents) notifyOther(ctx context.Context, o owed, pin kvpin.Pin) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	_, err := ds.o.Registry.StoreChanged(ctx, o.doc, pin, false)
	return err
}

// pinOf returns the pin of a life, nil if it is not pinned any more; other is then the
// pin of another life, if there is one. lives says that
// somebody has it open, or will take it up: then nothing is owed here.
func (p *purges) pinOf(ctx context.Context, o owed) (_, other *kvpin.Pin, lives bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	ds := p.docs
	pin, state, err := ds.o.Registry.Lookup(ctx, o.doc)
	if err != nil {
		if errors.Is(err, kvpin.ErrNotServed) {
			return nil, nil, true, nil
		}
		return nil, nil, false, err
	}
	mine := state != kvpin.Free && string(pin.Epoch) == o.epoch
	if mine && len(pin.Holders) > 0 { // of an orphan the registry's sweep tells
		return nil, nil, true, nil
	}
	epoch, ok, err := ds.Who(ctx, o.doc)
	switch {
	case errors.Is(err, bus.ErrNobody):
	case err != nil:
		return nil, nil, false, fmt.Errorf("%w: %w", errNoWord, err)
	case ok && epoch == o.epoch:
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
func (p *purges) pay(ctx context.Context, o owed, found oplog.Loaded, pinned bool) (next time.Duration, err error) {
	ds := p.docs
	if pinned {
		if err := ds.o.Registry.StillOwed(ctx, o.doc, kvpin.Epoch(o.epoch)); err != nil {
			return 0, err
		}
		p.mu.Lock()
		p.renewed[o] = time.Now()
		p.mu.Unlock()
	}
	if wait := p.mayPay(time.Now()); wait > 0 {
		return wait, nil
	}
	err = ds.payAlone(ctx, o, found)
	if errors.Is(err, errTaken) {
		return 0, errAgain
	}
	if errors.Is(err, ErrDeleted) { // a node that was frozen, and goes on in it, finds that by the marker
		err = ds.leaveMarker(ctx, o, found)
	}
	next = p.paid(err)
	if err != nil {
		ds.o.Log.Debug("what a life holds cannot be stored yet", "document", o.doc.String(), "epoch", o.epoch, "err", err)
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

// payAlone stores an owed life, unless this node has a room of the life. It never has two of them,
// since a node does not hear itself. Whoever wants to open the document has the payment
// give way.
func (ds *Documents) payAlone(ctx context.Context, o owed, found oplog.Loaded) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &payment{cancel, make(chan struct{})}
	ds.mu.Lock()
	d := ds.live[o.doc]
	if ds.paying[o.doc] != nil || d != nil && (d.closing || !d.IsOpen() || d.room.Epoch() == o.epoch) {
		ds.mu.Unlock()
		return errTaken
	}
	ds.paying[o.doc] = p
	ds.mu.Unlock()
	defer func() {
		ds.mu.Lock()
		defer ds.mu.Unlock()
		delete(ds.paying, o.doc)
		close(p.done)
	}()
	err := ds.payOnce(ctx, o, found)
	if err != nil && errors.Is(context.Cause(ctx), errTaken) {
		return errTaken
	}
	return err
}

// payOnce opens a room without users and stores it.
func (ds *Documents) payOnce(ctx context.Context, o owed, found oplog.Loaded) error {
	ctx, cancel := context.WithTimeout(ctx, 2*storeTime)
	defer cancel()
	if _, based := found.Base(); !based {
		return ds.setAside(ctx, o)
	}
	k, err := ds.keep(ctx, o.doc, o.epoch)
	if err != nil {
		return err
	}
	k.paying = true
	r, err := ds.o.Rooms.Open(ctx, o.doc, o.epoch, false, k.kept())
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
		if clean, err := r.Clean(ctx); err != nil || clean {
			return err
		}
	}
	return errAgain
}

// livesOf lists the stored lives of a document of which the region has a history.
func (ds *Documents) livesOf(ctx context.Context, doc docid.Document) (lives []owed, err error) {
	shard := ds.o.History.Shard(doc.PinKey())
	for subject, err := range ds.o.History.StoredSubjects(ctx, doc.LivesFilter(shard)) {
		if err != nil {
			return nil, err
		}
		if d, epoch, err := docid.ParseUpdatesSubject(subject.Name); err == nil && d == doc {
			lives = append(lives, owed{doc, epoch})
		}
	}
	return lives, nil
}

// payFormer pays what former lives of a document owe, before another one begins on what
// the store holds.
func (ds *Documents) payFormer(ctx context.Context, doc docid.Document, epoch string) error {
	lives, err := ds.livesOf(ctx, doc)
	if err != nil {
		return err
	}
	for _, o := range lives {
		if o.epoch == epoch {
			continue
		}
		found, err := ds.found(ctx, o)
		if err != nil {
			return err
		}
		if !found.Clean() {
			if err := ds.payOnce(ctx, o, found); err != nil && !errors.Is(err, ErrDeleted) {
				return fmt.Errorf("store what a former life holds: %w", err)
			}
		}
		if !found.Ended {
			ds.purges.suspect(o, time.Now().Add(afterExpiry))
		}
	}
	return nil
}

// leaveMarker purges the history of a life that has ended, up to a marker with the base
// that it stood on. Should somebody append meanwhile, nothing is purged.
func (ds *Documents) leaveMarker(ctx context.Context, o owed, found oplog.Loaded) error {
	base, ok := found.Base()
	if !ok {
		return ds.o.History.PurgeBelow(ctx, ds.subject(o), found.Last+1) // nothing stands in it
	}
	mark := oplog.Mark{UpTo: found.Last, Purges: true, Ends: true, Base: base}
	data := oplog.Kept.Append(nil, 0, oplog.Stored, 0, oplog.AppendMark(nil, mark))
	seq, err := ds.o.History.AppendAfter(ctx, ds.subject(o), data, found.Last, markerLife)
	if err != nil {
		return err
	}
	return ds.o.History.PurgeBelow(ctx, ds.subject(o), seq)
}

// lookAtStored goes through the histories of stored lives: a crash may have left some
// that nobody has open.
func (s *sweep) lookAtStored(ctx context.Context) error {
	ds := s.docs
	_, err := s.suspects(ctx, ds.o.History.StoredSubjects(ctx, ""), func(o owed, subject history.Subject) (bool, error) {
		if store, _ := ds.storeOf(o.doc.License); store == nil {
			return false, nil // a node without the store purges nothing
		}
		if subject.Messages > 1 {
			return true, nil
		}
		left, err := ds.found(ctx, o)
		return err == nil && !left.Ended, nil
	})
	return err
}
