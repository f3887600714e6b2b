package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin"
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
	// moveTime is how long a move may take from its mark, for documents that are stored
	// quickly; for others as often as moveStores the time of a store is added, up to moveMost.
	moveTime   = 5 * time.Second
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

// Moves move documents of this region to others, and count how that came out. One move of
// a document is under way at a time, and whatever becomes of it, its document takes edits
// again here or is somewhere else.
type Moves struct {
	Done, GivenUp atomic.Int64

	docs *Documents

	mu     sync.Mutex
	moving map[*Document]struct{}
}

func (m *Moves) init(ds *Documents) { m.docs, m.moving = ds, map[*Document]struct{}{} }

// Move moves a document that lives in this region to another one, which its clients are told.
// An error says that it has stayed, or, at worst, that nobody knows yet; everything goes on then.
func (m *Moves) Move(ctx context.Context, doc docid.Document, to docid.Region) (done Move, err error) {
	ds := m.docs
	pin, state, err := ds.o.Registry.Lookup(ctx, doc)
	switch {
	case err != nil:
		return done, err
	case state == kvpin.Free:
		return done, ErrNotLive
	case pin.Region != ds.o.Region:
		return done, fmt.Errorf("%w: it lives in %s", kvpin.ErrImmovable, pin.Region)
	}
	began := time.Now()
	d, err := ds.Enter(ctx, doc)
	if err != nil {
		return done, fmt.Errorf("open %s, to move it: %w", doc, err)
	}
	defer ds.Leave(d)
	if d.keeper == nil {
		return done, fmt.Errorf("%w: no store keeps it", kvpin.ErrImmovable)
	}
	if !m.begin(d) {
		return done, kvpin.ErrMoving
	}
	defer m.end(d)
	for try := 1; ; try++ {
		done.Stopped, err = m.once(ctx, d, to)
		if !errors.Is(err, kvpin.ErrConflict) || try == moveTries || ctx.Err() != nil {
			break
		}
	}
	done.Region, done.Took = to, time.Since(began)
	if err != nil {
		m.GivenUp.Add(1)
		ds.o.Log.Warn("a document could not be moved to another region, and goes on here", "document", doc.String(), "region", to, "err", err)
		return done, fmt.Errorf("move %s to %s: %w", doc, to, err)
	}
	m.Done.Add(1)
	ds.o.Log.Info("moved a document to another region", "document", doc.String(), "region", to, "seconds", done.Took.Seconds(), "stopped_seconds", done.Stopped.Seconds())
	return done, nil
}

// begin reports false if a move of the document is under way.
func (m *Moves) begin(d *Document) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, moving := m.moving[d]
	m.moving[d] = struct{}{}
	return !moving
}

func (m *Moves) end(d *Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.moving, d)
}

// once moves a document, or leaves it as it was. ErrConflict says that its pin changed
// meanwhile.
func (m *Moves) once(ctx context.Context, d *Document, to docid.Region) (stopped time.Duration, err error) {
	ds := m.docs
	within, err := m.storeBefore(ctx, d)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	marked, err := d.hold.Mark(ctx, to, within)
	if err != nil {
		if errors.Is(err, kvpin.ErrUnsettled) {
			d.goOn(ds.ctx, ds.o.Log) // the mark may be there
		}
		return 0, err
	}
	began := time.Now()
	d.room.Stop()
	var pin kvpin.Pin
	if err = m.comeToRest(ctx, d, marked); err == nil {
		pin, err = d.hold.Commit(ctx, marked)
	}
	if err == nil {
		ds.o.Go(func() { m.tellOver(d, marked) })
		stopped = time.Since(began)
		ds.follower.Moved(d.doc, pin)
		return stopped, nil
	}
	d.goOn(ds.ctx, ds.o.Log)
	m.tellOver(d, marked)
	if d.hasMoved() { // by the write whose answer was lost, or by somebody else's
		return time.Since(began), m.whereTo(d, to)
	}
	return time.Since(began), err
}

// whereTo finds out where a document is that has gone: nil if that is where it was to go.
func (m *Moves) whereTo(d *Document, to docid.Region) error {
	ds := m.docs
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
func (m *Moves) storeBefore(ctx context.Context, d *Document) (within time.Duration, err error) {
	ds := m.docs
	took, known := ds.saves.took(d.keeper)
	large := d.room.Brief().Store.Bytes > largeBody
	if d.room.Changed() && (took > slowStored || !known && large) || d.keeper.doubtful() {
		began := time.Now()
		if err := ds.Save(ctx, d); err != nil {
			return 0, err
		}
		took = time.Since(began)
	}
	return min(moveTime+moveStores*took, moveMost), nil
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
	return k.ds.saves.failsNow(k)
}

// failsNow reports whether the last store of a document failed.
func (s *saves) failsNow(k *keeper) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.fails > 0
}

// comeToRest returns when all holders have stopped and the store has everything.
func (m *Moves) comeToRest(ctx context.Context, d *Document, marked kvpin.Pin) error {
	ds := m.docs
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
		if err := d.room.Durable(ctx); err != nil { // what was merged
			return err
		}
		if clean, err := d.room.Clean(ctx); err != nil || clean {
			return err
		}
	}
	return errUnclean
}

// tellOver has the other holders come back from a move.
func (m *Moves) tellOver(d *Document, marked kvpin.Pin) {
	ds := m.docs
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ds.ctx), whoTimeout+openTimeout/2)
	defer cancel()
	ds.o.Registry.EndMove(ctx, d.doc, marked)
}

// goOn comes back from a move of which this node does not know how it came out: either edits
// are taken again, or the document has gone and Moved was called.
func (d *Document) goOn(ctx context.Context, log *slog.Logger) {
	giveUp := time.Now().Add(goOnMost)
	for wait := 20 * time.Millisecond; !d.hasMoved(); wait = min(2*wait, time.Second) {
		err := d.hold.GoOn(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(giveUp) {
			log.Warn("a document takes edits again, although the registry does not say whether it has moved", "document", d.doc.String(), "err", err)
			break
		}
		pause.For(ctx, wait)
	}
	if !d.hasMoved() {
		d.room.Resume()
	}
}
