package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/roster"
)

// documents are the documents that are live on this node. Load and unload of one
// document are serialised: a fast reconnect never meets a half-loaded or
// half-closed room, and a failed load fails its joiners and leaves nothing.
type documents struct {
	node *Node

	mu      sync.Mutex
	live    map[docid.Document]*document
	list    roster.Roster[*document] // the same, for operators
	settled chan struct{}            // closed when live becomes empty; nil: nobody waits
}

// document is one entry. room and hold are set before opened is closed.
type document struct {
	doc    docid.Document
	id     uint64 // in the roster, guarded by documents.mu
	opened chan struct{}
	gone   chan struct{} // closed when the entry has left the map; nil: nobody waits. Guarded by documents.mu
	room   *room.Room
	hold   *kvpin.Hold
	err    error

	// Guarded by documents.mu.
	users    int
	lastLeft time.Time
	closing  bool
	moved    error // where the document went, or that it ended; nil: it is here, or nobody has said yet
}

// absorb is how long a node keeps a document after its last session, so that
// neither a page reload nor a storm, of which a busy node has the last clients back
// after seconds, costs registry writes: all documents at once are more than a
// registry answers in time. It counts towards the grace period.
const absorb = 3 * time.Second

// durableWait bounds how long an abandoned document stays for the sake of edits
// that the history has not acknowledged.
const durableWait = time.Minute

func (ds *documents) init(n *Node) {
	ds.node, ds.live = n, map[docid.Document]*document{}
	ds.list.Init(n.started)
}

// enter returns the document live, with a place for one user that leave gives
// back. It claims the pin and loads the document if need be.
func (ds *documents) enter(ctx context.Context, doc docid.Document) (*document, error) {
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
			ds.leave(d)
			return nil, ctx.Err()
		}
		err := d.err
		if err == nil {
			err = ds.away(d)
		}
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, errEnded) {
			ds.leave(d)
			return nil, err
		}
		gone := ds.goneOf(d)
		ds.leave(d)
		select {
		case <-gone: // the document lives anew: open that
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// goneOf is closed when an entry in which the caller has a place has left the map.
func (ds *documents) goneOf(d *document) <-chan struct{} {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.gone == nil {
		d.gone = make(chan struct{})
	}
	return d.gone
}

// take counts a user in, or returns what to wait for while the document closes.
func (ds *documents) take(doc docid.Document) (d *document, wait <-chan struct{}) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d = ds.live[doc]
	if d != nil && d.closing {
		if d.gone == nil {
			d.gone = make(chan struct{})
		}
		return nil, d.gone
	}
	if d == nil {
		d = &document{doc: doc, opened: make(chan struct{})}
		ds.live[doc] = d
		d.id = ds.list.Add(d)
		// Not the first joiner's goroutine: others wait for it too.
		ds.node.done.Go(func() { ds.open(d) })
	}
	d.users++
	return d, nil
}

// open pins and loads the document.
func (ds *documents) open(d *document) {
	ctx, cancel := context.WithTimeout(ds.node.ctx, handshakeTimeout)
	defer cancel()
	d.err = ds.load(ctx, d)
	if d.err != nil {
		ds.remove(d)
	}
	close(d.opened)
	if d.err == nil {
		ds.node.unheard.watch(d)
	}
}

func (ds *documents) load(ctx context.Context, d *document) (err error) {
	n := ds.node
	if n.gate.claims != nil && !n.gate.claims.Take(d.doc.AppID()) {
		return errOverloaded
	}
	if d.hold, err = n.hold(ctx, d.doc); err != nil {
		return err
	}
	pin := d.hold.Pin()
	fresh := len(pin.Holders) == 1 && time.Since(pin.Since) < handshakeTimeout
	if d.room, err = n.rooms.Open(ctx, d.doc, string(pin.Epoch), fresh, nil); err != nil {
		if _, releaseErr := d.hold.Release(ctx, time.Now()); releaseErr != nil {
			err = errors.Join(err, releaseErr)
		}
		return err
	}
	return nil
}

// hold makes this node a holder of the document's pin. Without the registry, a
// document that is live in this region still takes its users: the rooms of the
// region are asked, and the entry becomes a debt.
func (n *Node) hold(ctx context.Context, doc docid.Document) (*kvpin.Hold, error) {
	hold, err := n.cfg.Registry.Hold(ctx, doc)
	var elsewhere *kvpin.PinnedError
	switch {
	case err == nil:
		return hold, nil
	case errors.As(err, &elsewhere):
		return nil, n.redirect(ctx, doc, elsewhere.Pin)
	case !errors.Is(err, kvpin.ErrUnavailable):
		return nil, err
	}
	epoch, ok, _ := n.who(ctx, doc)
	if !ok {
		return nil, err
	}
	return n.cfg.Registry.Adopt(doc, kvpin.Epoch(epoch))
}

// whoTimeout is how long the rooms of the region have to answer.
const whoTimeout = 300 * time.Millisecond

// who asks the region whether a document is live in it, and in which epoch. The error
// is bus.ErrNobody if nobody has it, and another one if nobody said in time.
func (n *Node) who(ctx context.Context, doc docid.Document) (epoch string, ok bool, err error) {
	if d := n.docs.get(doc); d != nil {
		return d.room.Epoch(), true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, whoTimeout)
	defer cancel()
	answer, err := n.cfg.Bus.Request(ctx, doc.SignalsSubject(), oplog.Question())
	if err != nil {
		return "", false, err
	}
	epoch, ok = oplog.ReadWho(answer)
	return epoch, ok, nil
}

// Alive is for kvpin.Config: it asks the other nodes of the region whether one of them
// has a document open in an epoch.
func (n *Node) Alive(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
	answer, err := n.cfg.Bus.Request(ctx, doc.SignalsSubject(), oplog.Question())
	switch {
	case errors.Is(err, bus.ErrNobody):
		return false, nil
	case errors.Is(err, context.DeadlineExceeded) && n.cfg.Bus.Connected():
		return false, fmt.Errorf("%w: %w", kvpin.ErrSilent, err)
	case err != nil:
		return false, err
	}
	got, ok := oplog.ReadWho(answer)
	return ok && got == string(epoch), nil
}

func (d *document) isOpen() bool {
	select {
	case <-d.opened:
		return d.err == nil
	default:
		return false
	}
}

// leave counts a user out; after the last one the document is given up soon.
func (ds *documents) leave(d *document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.users--
	if d.users > 0 || d.closing || ds.live[d.doc] != d {
		return
	}
	d.lastLeft = time.Now()
	delay := absorb
	if ds.node.cfg.Grace < 2*absorb || ds.node.draining.Load() || d.isOpen() && d.hasMoved() {
		delay = 0
	}
	left := d.lastLeft
	ds.node.done.Go(func() { ds.unload(d, left, delay) })
}

// unload gives a document up that has been without users since left, unless
// somebody comes.
func (ds *documents) unload(d *document, left time.Time, delay time.Duration) {
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ds.node.ctx.Done():
		}
	}
	<-d.opened // within handshakeTimeout
	if d.err != nil || !ds.abandoned(d, left, false) {
		return
	}
	ctx, cancel := context.WithTimeout(ds.node.patience, durableWait)
	defer cancel()
	if err := d.room.Durable(ctx); err != nil {
		ds.node.log.Error("a document is given up with edits that the history has not acknowledged; its clients bring them back", "document", d.doc.String(), "err", err)
	}
	if ds.abandoned(d, left, true) {
		ds.close(d)
	}
}

// abandoned reports whether nobody has come since left; if so and commit is set,
// nobody can come any more.
func (ds *documents) abandoned(d *document, left time.Time, commit bool) bool {
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
func (ds *documents) close(d *document) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ds.node.ctx), handshakeTimeout)
	defer cancel()
	epoch := d.room.Epoch()
	last, err := d.hold.Release(ctx, d.lastLeft)
	if err != nil {
		ds.node.log.Warn("the registry will be told later that a document was left", "document", d.doc.String(), "err", err)
	}
	d.room.Close()
	if last {
		// The pin lives for a second at least, however late it was left.
		expiry := d.lastLeft.Add(ds.node.cfg.Grace)
		if soon := time.Now().Add(time.Second); expiry.Before(soon) {
			expiry = soon
		}
		ds.node.cleanup.owe(d.doc, epoch, expiry)
	}
	ds.remove(d)
}

// remove takes the entry out of the map.
func (ds *documents) remove(d *document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.live[d.doc] == d {
		delete(ds.live, d.doc)
	}
	ds.list.Remove(d.id)
	if d.gone != nil {
		close(d.gone)
	}
	if len(ds.live) == 0 && ds.settled != nil {
		close(ds.settled)
		ds.settled = nil
	}
}

// settle waits until no document is live on this node.
func (ds *documents) settle(ctx context.Context) error {
	ds.mu.Lock()
	if len(ds.live) == 0 {
		ds.mu.Unlock()
		return nil
	}
	if ds.settled == nil {
		ds.settled = make(chan struct{})
	}
	settled := ds.settled
	ds.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		ds.mu.Lock()
		defer ds.mu.Unlock()
		return fmt.Errorf("%d documents were not given up in time: %w", len(ds.live), ctx.Err())
	}
}

// get returns the document if it is open here.
func (ds *documents) get(doc docid.Document) *document {
	d, _ := ds.find(doc)
	return d
}

// find is get that tells a document that is being opened from none.
func (ds *documents) find(doc docid.Document) (d *document, opening bool) {
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
