package live

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// Open documents follow what becomes of their pins.

// Moved implements kvpin.Rooms: the document lives in another region now. Its
// members are sent there and take along what they typed; nobody joins them any
// more. Who is between entering and joining, or comes while the document is being
// opened, finds out by StillHere.
func (ds *Documents) Moved(doc docid.Document, pin kvpin.Pin) {
	err := ds.o.Redirect(ds.ctx, doc, pin)
	d := ds.Get(doc)
	if d == nil || !d.hasMoved() || ds.endedDeleted(d) {
		return
	}
	left := d.room.MoveAway()
	if ds.saveMoved(d, left); ds.isDeleted(d) {
		return
	}
	ds.mu.Lock()
	d.moved = err
	ds.mu.Unlock()
	ds.o.Log.Warn("a document moved to another region; its clients follow", "document", doc.String(), "region", pin.Region)
	ds.o.Dismiss(d.room, err)
	if d.keeper != nil { // what the room holds and the store does not; there it is merged
		ds.purges.owe(doc, d.room.Epoch(), time.Now().Add(releaseDelay))
	}
}

// saveMoved has the store keep what a document that has moved holds, if it may hold anything
// new or something was left, before its clients
// follow. What does not succeed in time is owed.
func (ds *Documents) saveMoved(d *Document, left bool) {
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
func (ds *Documents) Ended(doc docid.Document, _ kvpin.Pin) {
	d := ds.Get(doc)
	if d == nil || !d.hasMoved() || ds.endedDeleted(d) {
		return
	}
	ds.mu.Lock()
	d.moved = ErrEnded
	ds.mu.Unlock()
	ds.o.Log.Warn("a document ended while this node had no lease, and lives anew; its clients bring what they have", "document", doc.String())
	ds.o.Dismiss(d.room, ErrEnded)
	ds.purges.owe(doc, d.room.Epoch(), time.Now().Add(releaseDelay))
}

// hasMoved reports whether an open document has gone to another region, or has ended:
// nothing else ends its hold before the entry closes, when nobody asks any more.
func (d *Document) hasMoved() bool {
	select {
	case <-d.hold.Done():
		return true
	default:
		return false
	}
}

// StillHere returns an error if an open document has gone to another region, or has ended:
// where it is, or that the client should try again until that is known.
func (ds *Documents) StillHere(d *Document) error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.moved == nil && d.hasMoved() {
		return ErrMoving
	}
	return d.moved
}

// errOpening has news about a pin told again: there is no room yet.
var errOpening = errors.New("the document is being opened")

// Restored implements kvpin.Rooms.
func (ds *Documents) Restored(ctx context.Context, doc docid.Document, _ kvpin.Pin) error {
	return ds.followPin(doc, func(d *Document) error {
		if err := ds.stillLives(ctx, d); err != nil {
			return over(err)
		}
		return d.room.Restore(ctx)
	})
}

// Rebased implements kvpin.Rooms.
func (ds *Documents) Rebased(ctx context.Context, doc docid.Document, pin kvpin.Pin) error {
	return ds.followPin(doc, func(d *Document) error {
		if err := ds.stillLives(ctx, d); err != nil {
			return over(err)
		}
		err := ds.follow(d, d.room.Rebase(ctx, string(pin.Epoch)))
		if err == nil && d.keeper != nil {
			ds.saves.look(d.keeper)
		}
		return over(err)
	})
}

// followPin has a document's room follow its pin, if there is one.
func (ds *Documents) followPin(doc docid.Document, follow func(*Document) error) error {
	d, opening := ds.find(doc)
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
func (ds *Documents) stillLives(ctx context.Context, d *Document) error {
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
func (ds *Documents) endedDeleted(d *Document) bool {
	ctx, cancel := context.WithTimeout(ds.ctx, openTimeout)
	defer cancel()
	if err := ds.stillLives(ctx, d); !errors.Is(err, ErrDeleted) {
		return false
	}
	ds.purges.owe(d.doc, d.room.Epoch(), time.Now().Add(releaseDelay))
	return true
}

// follow passes an error on, and gives the document up if it is ErrDeleted.
func (ds *Documents) follow(d *Document, err error) error {
	if errors.Is(err, ErrDeleted) {
		ds.deleted(d.doc)
	}
	return err
}

// deleted gives a document up that was deleted: its sessions end for good, and nothing
// of it is stored any more.
func (ds *Documents) deleted(doc docid.Document) {
	d := ds.Get(doc)
	if d == nil {
		return
	}
	ds.mu.Lock()
	known := errors.Is(d.moved, ErrDeleted)
	d.moved = ErrDeleted
	if d.stopWaiting != nil {
		d.stopWaiting()
	}
	ds.mu.Unlock()
	if known {
		return
	}
	ds.o.Log.Warn("a document was deleted; its sessions end", "document", doc.String())
	ds.o.Dismiss(d.room, ErrDeleted)
}

// isDeleted reports whether an open document was found to be deleted.
func (ds *Documents) isDeleted(d *Document) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return errors.Is(d.moved, ErrDeleted)
}
