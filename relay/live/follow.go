package live

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// follower has open documents follow what becomes of their pins: kvpin.Rooms. What it is
// told has come true for a document's clients when it returns without an error, and what was
// deleted gets into no other life: before a room is restored, merged or left to another
// region, its store is asked whether it still has that life.
type follower struct {
	docs  *Documents
	stops stops
}

var _ kvpin.Rooms = (*follower)(nil)

func (f *follower) init(ds *Documents) {
	f.docs = ds
	f.stops.init(ds.o.Log)
}

// Moved implements kvpin.Rooms: the document lives in another region now. Its
// members are sent there and take along what they typed; nobody joins them any
// more. Who is between entering and joining, or comes while the document is being
// opened, finds out by StillHere.
func (f *follower) Moved(doc docid.Document, pin kvpin.Pin) {
	ds := f.docs
	err := ds.o.Redirect(ds.ctx, doc, pin)
	d := ds.Get(doc)
	if d == nil || !d.hasMoved() || f.endedDeleted(d) {
		return
	}
	left := d.room.MoveAway()
	if f.saveMoved(d, left); !d.fate.become(err) {
		return
	}
	ds.o.Log.Warn("a document moved to another region; its clients follow", "document", doc.String(), "region", pin.Region)
	ds.o.Dismiss(d.room, err)
	if d.keeper != nil { // what the room holds and the store does not; there it is merged
		ds.purges.owe(doc, d.room.Epoch(), time.Now().Add(releaseDelay))
	}
}

// saveMoved has the store keep what a document that has moved holds, if it may hold anything
// new or something was left, before its clients follow. What does not succeed in time is owed.
func (f *follower) saveMoved(d *Document, left bool) {
	ds := f.docs
	if d.keeper == nil || !left && !d.room.Changed() {
		return
	}
	ctx, cancel := context.WithTimeout(ds.ctx, lastStore)
	defer cancel()
	_ = ds.follow(d, d.keeper.save(ctx))
}

// Ended implements kvpin.Rooms: the document ended while this node had no lease, and
// lives anew in this region. What the room holds must not come back in that life, so
// the room is given up as it is. Its members come back at once, to any node of the
// region, and bring what they have themselves.
func (f *follower) Ended(doc docid.Document, _ kvpin.Pin) {
	ds := f.docs
	d := ds.Get(doc)
	if d == nil || !d.hasMoved() || f.endedDeleted(d) {
		return
	}
	if !d.fate.become(ErrEnded) {
		return // its deletion is the last word
	}
	ds.o.Log.Warn("a document ended while this node had no lease, and lives anew; its clients bring what they have", "document", doc.String())
	ds.o.Dismiss(d.room, ErrEnded)
	ds.purges.owe(doc, d.room.Epoch(), time.Now().Add(releaseDelay))
}

// errOpening has news about a pin told again: there is no room yet.
var errOpening = errors.New("the document is being opened")

// Restored implements kvpin.Rooms.
func (f *follower) Restored(ctx context.Context, doc docid.Document, _ kvpin.Pin) error {
	return f.followPin(doc, func(d *Document) error {
		if err := f.stillLives(ctx, d); err != nil {
			return over(err)
		}
		return d.room.Restore(ctx)
	})
}

// Rebased implements kvpin.Rooms.
func (f *follower) Rebased(ctx context.Context, doc docid.Document, pin kvpin.Pin) error {
	ds := f.docs
	return f.followPin(doc, func(d *Document) error {
		if err := f.stillLives(ctx, d); err != nil {
			return over(err)
		}
		err := ds.follow(d, d.room.Rebase(ctx, string(pin.Epoch)))
		if err == nil && d.keeper != nil {
			ds.saves.look(d.keeper)
		}
		return over(err)
	})
}

// Stop implements kvpin.Rooms.
func (f *follower) Stop(ctx context.Context, doc docid.Document, epoch kvpin.Epoch, within time.Duration) error {
	return f.followPin(doc, func(d *Document) error {
		if d.room.Epoch() != string(epoch) {
			return nil
		}
		f.stops.add(d, time.Now().Add(within))
		d.room.Stop()
		return d.room.Durable(ctx)
	})
}

// MoveOver implements kvpin.Rooms.
func (f *follower) MoveOver(doc docid.Document) {
	if d := f.docs.Get(doc); d != nil {
		f.stops.goOnNow(d)
	}
}

// followPin has a document's room follow its pin, if there is one.
func (f *follower) followPin(doc docid.Document, follow func(*Document) error) error {
	d, opening := f.docs.table.find(doc)
	switch {
	case opening:
		return errOpening
	case d == nil:
		return nil
	}
	return follow(d)
}

// over is nil for a document that was deleted: there is nothing to follow again.
func over(err error) error {
	if errors.Is(err, ErrDeleted) {
		return nil
	}
	return err
}

// stillLives has a document given up that was deleted while this node did not know: what
// its room holds must not get into another life. It returns ErrDeleted then.
func (f *follower) stillLives(ctx context.Context, d *Document) error {
	ds := f.docs
	if d.keeper == nil {
		return nil
	}
	lives, err := d.keeper.lives(ctx)
	if err == nil && !lives {
		err = ErrDeleted
	}
	return ds.follow(d, err)
}

// endedDeleted reports whether a document whose hold is over was deleted; then it is given
// up. Its clients must not take it along to another life. While the store is away, that
// cannot be told.
func (f *follower) endedDeleted(d *Document) bool {
	ds := f.docs
	ctx, cancel := context.WithTimeout(ds.ctx, openTimeout)
	defer cancel()
	if err := f.stillLives(ctx, d); !errors.Is(err, ErrDeleted) {
		return false
	}
	ds.purges.owe(d.doc, d.room.Epoch(), time.Now().Add(releaseDelay))
	return true
}

// follow passes an error on, and gives the document up if it is ErrDeleted.
func (ds *Documents) follow(d *Document, err error) error {
	if errors.Is(err, ErrDeleted) {
		ds.deleted(d)
	}
	return err
}

// deleted gives a document up that was deleted, unless it has been given up already: its
// sessions end for good, and nothing of it is stored any more. Another document may have its
// name by now, of which nothing was said.
func (ds *Documents) deleted(d *Document) {
	if ds.Get(d.doc) != d || !d.fate.become(ErrDeleted) {
		return
	}
	ds.o.Log.Warn("a document was deleted; its sessions end", "document", d.doc.String())
	ds.o.Dismiss(d.room, ErrDeleted)
}
