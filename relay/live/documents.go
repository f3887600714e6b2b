package live

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/room"
)

// Document is one entry of Documents: a document that is being opened, open, or being
// given up. room, keeper and hold are set before opened is closed.
type Document struct {
	doc    docid.Document
	opened chan struct{}
	room   *room.Room
	keeper *keeper // nil: no store keeps the document
	hold   *kvpin.Hold
	err    error
	fate   fate

	// Guarded by table.mu. Once closing is set, users and lastLeft do not change.
	id       uint64 // in the roster
	users    int
	lastLeft time.Time
	closing  bool
	gone     chan struct{} // closed when the entry has been removed; nil while nothing waits for that
}

// releaseDelay is how long a node keeps a document after its last session, so that
// neither a page reload nor a storm, of which a busy node has the last clients back
// after seconds, costs registry writes: all documents at once are more than a
// registry answers in time. It counts towards the grace period.
const releaseDelay = 3 * time.Second

// durableWait bounds how long an abandoned document stays for the sake of edits
// that the history has not acknowledged.
const durableWait = time.Minute

// lastStore is how long the last one to leave, or a document that moves, waits for the store
// before the document is owed.
const lastStore = 5 * time.Second

// Name returns which document it is.
func (d *Document) Name() docid.Document { return d.doc }

// Room returns the document's room, once it is open.
func (d *Document) Room() *room.Room { return d.room }

// Enter returns the document live, with a place for one user that Leave gives
// back. It claims the pin and loads the document if need be.
func (ds *Documents) Enter(ctx context.Context, doc docid.Document) (*Document, error) {
	for {
		d, isNew, wait := ds.table.take(doc)
		if wait != nil {
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if isNew { // not in the first joiner's goroutine: others wait for it too
			ds.o.Go(func() { ds.open(d) })
		}
		select {
		case <-d.opened:
		case <-ctx.Done():
			ds.Leave(d)
			return nil, ctx.Err()
		}
		err := d.err
		if err == nil {
			err = d.StillHere()
		}
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, ErrEnded) {
			ds.Leave(d)
			return nil, err
		}
		gone := ds.table.gone(d)
		ds.Leave(d)
		select {
		case <-gone: // the document lives anew: open that
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// open pins and loads the document.
func (ds *Documents) open(d *Document) {
	timeout := openTimeout
	if s, _ := ds.storeOf(d.doc.License); s != nil {
		timeout = storeTime // its joiners do not wait so long, and find it open when they come back
	}
	ctx, cancel := context.WithTimeout(ds.ctx, timeout)
	defer cancel()
	d.err = ds.load(ctx, d)
	if d.err != nil {
		ds.table.remove(d)
	}
	close(d.opened)
	if d.err == nil {
		ds.unheard.watch(d)
	}
}

func (ds *Documents) load(ctx context.Context, d *Document) (err error) {
	if err := ds.o.Admit(d.doc.AppID()); err != nil {
		return err
	}
	if err = ds.loadOnce(ctx, d); !errors.Is(err, errOtherLife) {
		return err
	}
	// The pin of a former life was still there, or a node that had been frozen had brought it
	// back. It has gone with this node, unless others are yet to find out.
	if err = ds.loadOnce(ctx, d); errors.Is(err, errOtherLife) {
		return errAgain
	}
	return err
}

// loadOnce claims and opens the document, or leaves nothing.
func (ds *Documents) loadOnce(ctx context.Context, d *Document) (err error) {
	if d.hold, err = ds.claim(ctx, d.doc); err != nil {
		return err
	}
	pin := d.hold.Pin()
	fresh := len(pin.Holders) == 1 && time.Since(pin.Since) < openTimeout
	if d.keeper, err = ds.keep(ctx, d.doc, string(pin.Epoch)); err == nil {
		d.room, err = ds.o.Rooms.Open(ctx, d.doc, string(pin.Epoch), fresh, d.keeper.kept())
		d.keeper.opened(d.room)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrDeleted) {
		d.hold.Void()
	}
	last, releaseErr := d.hold.Release(ctx, time.Time{})
	if releaseErr != nil {
		err = errors.Join(err, releaseErr)
	}
	if last { // it may have had a history before
		ds.purges.owe(d.doc, string(pin.Epoch), time.Now().Add(ds.o.Grace))
	}
	return err
}

// IsOpen reports whether the document has been opened.
func (d *Document) IsOpen() bool {
	select {
	case <-d.opened:
		return d.err == nil
	default:
		return false
	}
}

// Leave counts a user out; after the last one the document is given up soon.
func (ds *Documents) Leave(d *Document) {
	left, last := ds.table.leave(d)
	if !last {
		return
	}
	delay := releaseDelay
	if ds.o.Grace < 2*releaseDelay || ds.o.Draining() || d.IsOpen() && d.StillHere() != nil {
		delay = 0
	}
	ds.o.Go(func() { ds.unload(d, left, delay) })
}

// unload gives a document up that has been without users since left, unless
// somebody comes.
func (ds *Documents) unload(d *Document, left time.Time, delay time.Duration) {
	pause.For(ds.ctx, delay)
	<-d.opened // within a time
	if d.err != nil || !ds.table.abandoned(d, left, false) {
		return
	}
	if ds.follower.stops.take(d) {
		d.goOn(ds.shutdown, ds.o.Log) // what is held belongs to the document, if it stays
	}
	ds.awaitHistory(d)
	ds.storeLast(d)
	if ds.table.abandoned(d, left, true) {
		ds.close(d)
	}
}

// awaitHistory waits, for a time, until the history has what was edited. Of a document that
// was deleted, before or meanwhile, there is nothing to wait for: who deleted it waits for
// its end.
func (ds *Documents) awaitHistory(d *Document) {
	ctx, cancel := context.WithTimeout(ds.shutdown, durableWait)
	defer cancel()
	if !d.fate.waits(cancel) {
		return
	}
	if err := d.room.Durable(ctx); err != nil && !d.fate.deleted() {
		ds.o.Log.Error("a document is given up with edits that the history has not acknowledged; its clients bring them back", "document", d.doc.String(), "err", err)
	}
}

// storeLast has the store keep a document that everybody left. Should another node have
// it open, that one does. What is not stored in time is owed, and so is what the history
// should have got without this room's knowledge: it is looked at when the pin is left.
func (ds *Documents) storeLast(d *Document) {
	if d.keeper == nil || !d.room.Changed() || !d.room.Alone() || d.hasMoved() || d.fate.deleted() {
		return
	}
	ctx, cancel := context.WithTimeout(ds.shutdown, lastStore)
	defer cancel()
	if !ds.saves.slots.take(ctx, d.doc.License) {
		return
	}
	defer ds.saves.giveSlot(d.keeper)
	if err := d.keeper.save(ctx); ds.shutdown.Err() == nil { // else the node ends, which says nothing of the store
		ds.saves.came(d.keeper, err)
	}
}

// close is the order of leaving: sessions ended and edits durable, then out of
// the pin, then unsubscribe.
func (ds *Documents) close(d *Document) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ds.ctx), openTimeout)
	defer cancel()
	epoch, unstored := d.room.Epoch(), time.Time{}
	if d.keeper != nil {
		unstored = ds.saves.end(ctx, d.keeper)
	}
	if d.fate.deleted() {
		d.hold.Void()
	}
	last, err := d.hold.Release(ctx, d.lastLeft)
	if err != nil {
		ds.o.Log.Warn("the registry will be told later that a document was left", "document", d.doc.String(), "err", err)
	}
	d.room.Close()
	if last || err != nil && d.keeper != nil {
		// The pin lives for a second at least, however late it was left.
		expiry := d.lastLeft.Add(ds.o.Grace)
		if soon := time.Now().Add(time.Second); expiry.Before(soon) {
			expiry = soon
		}
		ds.purges.owe(d.doc, epoch, expiry)
		if d.keeper != nil && d.keeper.owes.Load() {
			now := time.Now()
			if unstored.IsZero() { // it was another node's edit
				unstored = now
			}
			ds.payments.notStored(life{d.doc, epoch}, unstored)
			ds.purges.at(life{d.doc, epoch}, now)
		}
	}
	ds.table.remove(d)
}

// has reports whether a life is open here, or may be about to be.
func (ds *Documents) has(l life) bool {
	d, opening := ds.table.find(l.doc)
	return opening || d != nil && d.room.Epoch() == l.epoch
}

// Get returns the document if it is open here.
func (ds *Documents) Get(doc docid.Document) *Document {
	d, _ := ds.table.find(doc)
	return d
}
