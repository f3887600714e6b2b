package live

import (
	"context"
	"errors"
	"fmt"
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
	id     uint64 // in the roster, guarded by Documents.mu
	opened chan struct{}
	gone   chan struct{} // closed when the entry has left the map; nil while nothing waits for that. Guarded by Documents.mu
	room   *room.Room
	keeper *keeper // nil: no store keeps the document
	hold   *kvpin.Hold
	err    error

	// Guarded by Documents.mu.
	users       int
	lastLeft    time.Time
	closing     bool
	moving      bool   // this node moves it
	moved       error  // where the document went, or that it ended; nil: it is here, or nobody has said yet
	stopWaiting func() // ends the wait for the history; nil while nothing waits
}

// releaseDelay is how long a node keeps a document after its last session, so that
// neither a page reload nor a storm, of which a busy node has the last clients back
// after seconds, costs registry writes: all documents at once are more than a
// registry answers in time. It counts towards the grace period.
const releaseDelay = 3 * time.Second

// durableWait bounds how long an abandoned document stays for the sake of edits
// that the history has not acknowledged.
const durableWait = time.Minute

// Name returns which document it is.
func (d *Document) Name() docid.Document { return d.doc }

// Room returns the document's room, once it is open.
func (d *Document) Room() *room.Room { return d.room }

// Enter returns the document live, with a place for one user that leave gives
// back. It claims the pin and loads the document if need be.
func (ds *Documents) Enter(ctx context.Context, doc docid.Document) (*Document, error) {
	for {
		d, wait := ds.take(doc)
		if wait != nil {
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		select {
		case <-d.opened:
		case <-ctx.Done():
			ds.Leave(d)
			return nil, ctx.Err()
		}
		err := d.err
		if err == nil {
			err = ds.StillHere(d)
		}
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, ErrEnded) {
			ds.Leave(d)
			return nil, err
		}
		gone := ds.goneOf(d)
		ds.Leave(d)
		select {
		case <-gone: // the document lives anew: open that
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// goneOf is closed when an entry in which the caller has a place has left the map.
func (ds *Documents) goneOf(d *Document) <-chan struct{} {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.gone == nil {
		d.gone = make(chan struct{})
	}
	return d.gone
}

// take counts a user in, or returns what to wait for while the document closes.
func (ds *Documents) take(doc docid.Document) (d *Document, wait <-chan struct{}) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d = ds.live[doc]
	if d != nil && d.closing {
		if d.gone == nil {
			d.gone = make(chan struct{})
		}
		return nil, d.gone
	}
	if p := ds.paying[doc]; d == nil && p != nil {
		p.giveWay(errTaken)
		return nil, p.done
	}
	if d == nil {
		d = &Document{doc: doc, opened: make(chan struct{})}
		ds.live[doc] = d
		d.id = ds.list.Add(d)
		// Not the first joiner's goroutine: others wait for it too.
		ds.o.Go(func() { ds.open(d) })
	}
	d.users++
	return d, nil
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
		ds.remove(d)
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
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.users--
	if d.users > 0 || d.closing || ds.live[d.doc] != d {
		return
	}
	d.lastLeft = time.Now()
	delay := releaseDelay
	if ds.o.Grace < 2*releaseDelay || ds.o.Draining() || d.IsOpen() && (d.moved != nil || d.hasMoved()) {
		delay = 0
	}
	left := d.lastLeft
	ds.o.Go(func() { ds.unload(d, left, delay) })
}

// unload gives a document up that has been without users since left, unless
// somebody comes.
func (ds *Documents) unload(d *Document, left time.Time, delay time.Duration) {
	pause.For(ds.ctx, delay)
	<-d.opened // within a time
	if d.err != nil || !ds.abandoned(d, left, false) {
		return
	}
	if ds.stops.take(d) {
		ds.goOn(ds.shutdown, d) // what is held belongs to the document, if it stays
	}
	ds.awaitHistory(d)
	ds.storeLast(d)
	if ds.abandoned(d, left, true) {
		ds.close(d)
	}
}

// awaitHistory waits, for a time, until the history has what was edited. Of a document that
// was deleted, before or meanwhile, there is nothing to wait for: who deleted it waits for
// its end.
func (ds *Documents) awaitHistory(d *Document) {
	ctx, cancel := context.WithTimeout(ds.shutdown, durableWait)
	defer cancel()
	ds.mu.Lock()
	d.stopWaiting = cancel
	ds.mu.Unlock()
	if ds.isDeleted(d) {
		return
	}
	if err := d.room.Durable(ctx); err != nil && !ds.isDeleted(d) {
		ds.o.Log.Error("a document is given up with edits that the history has not acknowledged; its clients bring them back", "document", d.doc.String(), "err", err)
	}
}

// abandoned reports whether nobody has come since left; if so and commit is set,
// nobody can come any more.
func (ds *Documents) abandoned(d *Document, left time.Time, commit bool) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.users > 0 || d.closing || !d.lastLeft.Equal(left) || ds.live[d.doc] != d {
		return false
	}
	d.closing = commit
	return true
}

// close is the order of leaving: sessions ended and edits durable, then out of
// the pin, then unsubscribe.
func (ds *Documents) close(d *Document) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ds.ctx), openTimeout)
	defer cancel()
	epoch := d.room.Epoch()
	if d.keeper != nil {
		ds.saves.end(ctx, d.keeper)
	}
	if ds.isDeleted(d) {
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
			ds.purges.at(owed{d.doc, epoch}, time.Now())
		}
	}
	ds.remove(d)
}

// remove takes the entry out of the map.
func (ds *Documents) remove(d *Document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.live[d.doc] == d {
		delete(ds.live, d.doc)
	}
	ds.list.Remove(d.id)
	if d.gone != nil {
		close(d.gone)
	}
	if len(ds.live) == 0 && ds.empty != nil {
		close(ds.empty)
		ds.empty = nil
	}
}

// AwaitEmpty waits until no document is live on this node.
func (ds *Documents) AwaitEmpty(ctx context.Context) error {
	ds.mu.Lock()
	if len(ds.live) == 0 {
		ds.mu.Unlock()
		return nil
	}
	if ds.empty == nil {
		ds.empty = make(chan struct{})
	}
	empty := ds.empty
	ds.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		ds.mu.Lock()
		defer ds.mu.Unlock()
		return fmt.Errorf("%d documents were not given up in time: %w", len(ds.live), ctx.Err())
	}
}

// Get returns the document if it is open here.
func (ds *Documents) Get(doc docid.Document) *Document {
	d, _ := ds.find(doc)
	return d
}

// find is get that tells a document that is being opened from none.
func (ds *Documents) find(doc docid.Document) (d *Document, opening bool) {
	ds.mu.Lock()
	d = ds.live[doc]
	ds.mu.Unlock()
	if d == nil {
		return nil, false
	}
	select {
	case <-d.opened:
	default:
		return nil, true
	}
	if d.err != nil {
		return nil, false
	}
	return d, false
}
