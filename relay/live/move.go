package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
)

// A document moves to another region through its store, driven by a node of its own region
// that holds it (rule 16 of docs/storage.md). In order:
//
//	mark the pin → all holders stop taking edits, and make durable what they took → store
//	until the history holds nothing more → write the other region's pin on the revision of
//	the mark → send the clients there → the history is purged as that of any life that ended
//
// Whatever fails, the document stays: the mark is removed, and then edits are taken again.
// A node that dies at it leaves a mark that the other holders remove after its time. So
// nothing depends on whoever asked for the move.

const (
	// moveLife is how long a move may take from its mark, for documents that are stored
	// quickly; for others as often as moveStores the time of a store is added, up to moveMost.
	moveLife   = 5 * time.Second
	moveStores = 3
	moveMost   = time.Minute
	// slowStored is how long a store may take at most without more ado. What takes longer, or
	// is larger than largeBody and was never stored, is stored before anybody stops as well:
	// it is known then how long that takes, and that it works.
	slowStored = 500 * time.Millisecond
	largeBody  = 1 << 20
	// moveTries bounds how often a move begins anew because somebody came or left.
	moveTries = 5
	// goOnMost is how long a node that has stopped tries to find out whether the document is
	// still here. Then it goes on, as nodes that have lost the registry do.
	goOnMost = 10 * time.Second
)

var (
	// ErrNotLive is returned by Move for a document that nobody has open: the next user
	// opens it, in whatever region.
	ErrNotLive = errors.New("nobody has the document open")
	// errUnclean: somebody appends to the history all the time.
	errUnclean = errors.New("the history gets more than is stored, although all have stopped")
)

// Move says how a document was moved.
type Move struct {
	Region  docid.Region  // where it lives now
	Took    time.Duration // the whole
	Stopped time.Duration // of it, how long nobody could edit here
}

// Moves count how moves of this node came out.
type Moves struct{ Done, GivenUp atomic.Int64 }

// Move moves a document that lives in this region to another one, which its clients are told.
// An error says that it has stayed, or, at worst, that nobody knows yet; everything goes on then.
func (ds *Documents) Move(ctx context.Context, doc docid.Document, to docid.Region) (m Move, err error) {
	pin, state, err := ds.o.Registry.Lookup(ctx, doc)
	switch {
	case err != nil:
		return m, err
	case state == kvpin.Free:
		return m, ErrNotLive
	case pin.Region != ds.o.Region:
		return m, fmt.Errorf("%w: it lives in %s", kvpin.ErrImmovable, pin.Region)
	}
	began := time.Now()
	d, err := ds.Enter(ctx, doc)
	if err != nil {
		return m, fmt.Errorf("open %s, to move it: %w", doc, err)
	}
	defer ds.Leave(d)
	if d.keeper == nil {
		return m, fmt.Errorf("%w: no store keeps it", kvpin.ErrImmovable)
	}
	if !ds.beginMove(d) {
		return m, kvpin.ErrMoving
	}
	defer ds.endMove(d)
	for try := 1; ; try++ {
		m.Stopped, err = ds.moveOnce(ctx, d, to)
		if !errors.Is(err, kvpin.ErrConflict) || try == moveTries || ctx.Err() != nil {
			break
		}
	}
	m.Region, m.Took = to, time.Since(began)
	if err != nil {
		ds.Moves.GivenUp.Add(1)
		ds.o.Log.Warn("a document could not be moved to another region, and goes on here", "document", doc.String(), "region", to, "err", err)
		return m, fmt.Errorf("move %s to %s: %w", doc, to, err)
	}
	ds.Moves.Done.Add(1)
	ds.o.Log.Info("moved a document to another region", "document", doc.String(), "region", to, "seconds", m.Took.Seconds(), "stopped_seconds", m.Stopped.Seconds())
	return m, nil
}

// beginMove has one move of a document be under way at a time.
func (ds *Documents) beginMove(d *Document) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	was := d.moving
	d.moving = true
	return !was
}

func (ds *Documents) endMove(d *Document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.moving = false
}

// moveOnce moves a document, or leaves it as it was. ErrConflict says that its pin changed
// meanwhile.
func (ds *Documents) moveOnce(ctx context.Context, d *Document, to docid.Region) (stopped time.Duration, err error) {
	life, err := ds.storeBefore(ctx, d)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	marked, err := d.hold.Mark(ctx, to, life)
	if err != nil {
		if errors.Is(err, kvpin.ErrUnsettled) {
			ds.goOn(ds.ctx, d) // the mark may be there
		}
		return 0, err
	}
	began := time.Now()
	d.room.Stop()
	var pin kvpin.Pin
	if err = ds.comeToRest(ctx, d, marked); err == nil {
		pin, err = d.hold.Commit(ctx, marked)
	}
	if err == nil {
		ds.o.Go(func() { ds.tellOver(d, marked) })
		stopped = time.Since(began)
		ds.Moved(d.doc, pin)
		return stopped, nil
	}
	ds.goOn(ds.ctx, d)
	ds.tellOver(d, marked)
	if d.hasMoved() { // by the write whose answer was lost, or by somebody else's
		return time.Since(began), ds.whereTo(d, to)
	}
	return time.Since(began), err
}

// whereTo finds out where a document is that has gone: nil if that is where it was to go.
func (ds *Documents) whereTo(d *Document, to docid.Region) error {
	ctx, cancel := context.WithTimeout(ds.ctx, openTimeout)
	defer cancel()
	pin, state, err := ds.o.Registry.Lookup(ctx, d.doc)
	switch {
	case err != nil:
		return err
	case state == kvpin.Free || pin.Region == to:
		return nil
	}
	return fmt.Errorf("%w: it has gone to %s", kvpin.ErrImmovable, pin.Region)
}

// storeBefore stores a document beforehand whose store takes long, and returns how long its
// move may take.
func (ds *Documents) storeBefore(ctx context.Context, d *Document) (life time.Duration, err error) {
	took, known := ds.saves.took(d.keeper)
	large := d.room.Brief().Store.Bytes > largeBody
	if d.room.Changed() && (took > slowStored || !known && large) || d.keeper.doubtful() {
		began := time.Now()
		if err := ds.Save(ctx, d); err != nil {
			return 0, err
		}
		took = time.Since(began)
	}
	return min(moveLife+moveStores*took, moveMost), nil
}

// took is how long the last store of a document took; known is false if this node has not
// stored it.
func (s *saves) took(k *keeper) (took time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.took, !k.last.IsZero()
}

// doubtful reports whether the store failed last time, or has been asked and has not answered:
// nobody is to stop until it works.
func (k *keeper) doubtful() bool {
	select {
	case k.turn <- struct{}{}:
		<-k.turn
	default:
		return true
	}
	s := &k.ds.saves
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.fails > 0
}

// comeToRest returns when all holders have stopped and the store has everything.
func (ds *Documents) comeToRest(ctx context.Context, d *Document, marked kvpin.Pin) error {
	var others error
	var stopping sync.WaitGroup
	stopping.Go(func() { others = ds.o.Registry.StopOthers(ctx, d.doc, marked) })
	err := d.room.Durable(ctx)
	stopping.Wait()
	if err = errors.Join(err, others); err != nil {
		return err
	}
	for range payTries {
		if err := ds.Save(ctx, d); err != nil {
			return err
		}
		if clean, err := d.room.Clean(ctx); err != nil || clean {
			return err
		}
	}
	return errUnclean
}

// tellOver has the other holders come back from a move.
func (ds *Documents) tellOver(d *Document, marked kvpin.Pin) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ds.ctx), whoTimeout+openTimeout/2)
	defer cancel()
	ds.o.Registry.EndMove(ctx, d.doc, marked)
}

// goOn comes back from a move of which this node does not know how it came out: either edits
// are taken again, or the document has gone and Moved was called.
func (ds *Documents) goOn(ctx context.Context, d *Document) {
	giveUp := time.Now().Add(goOnMost)
	for wait := 20 * time.Millisecond; !d.hasMoved(); wait = min(2*wait, time.Second) {
		err := d.hold.GoOn(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(giveUp) {
			ds.o.Log.Warn("a document takes edits again, although the registry does not say whether it has moved", "document", d.doc.String(), "err", err)
			break
		}
		pause.For(ctx, wait)
	}
	if !d.hasMoved() {
		d.room.Resume()
	}
}

// Unstored goes through the stored lives whose histories in this region hold what the store
// does not, as far as it has yet to be stored. An error is the last thing it yields.
func (ds *Documents) Unstored(ctx context.Context) iter.Seq2[docid.Document, error] {
	return func(yield func(docid.Document, error) bool) {
		for subject, err := range ds.o.History.StoredSubjects(ctx, "") {
			switch {
			case errors.Is(err, history.ErrStreamMissing):
				return
			case err != nil:
				yield(docid.Document{}, err)
				return
			}
			doc, epoch, err := docid.ParseUpdatesSubject(subject.Name)
			if err != nil {
				continue // not of ours
			}
			found, err := ds.found(ctx, owed{doc, epoch})
			if (err != nil || !found.Clean()) && !yield(doc, err) || err != nil {
				return
			}
		}
	}
}
