package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/roster"
)

// table has the documents that are live on this node. A document has one entry at most,
// from its first user until it has been given up, and while the entry closes nobody comes
// in: who wants to waits until it is gone. So a fast reconnect never meets a half-closed
// room. Payments of ended lives are entered here as well, since a node must not have two
// rooms of one life: nobody opens a document before its payment has ended, and none begins
// for a life that is open, or may be.
type table struct {
	list roster.Roster[*Document] // the entries, for operators

	mu     sync.Mutex
	live   map[docid.Document]*Document
	paying map[docid.Document]*payment
	empty  chan struct{} // closed when live becomes empty; nil while nothing waits for that
}

func (t *table) init(started time.Time) {
	t.live, t.paying = map[docid.Document]*Document{}, map[docid.Document]*payment{}
	t.list.Init(started)
}

// take counts a user in, or returns what to wait for while the document closes or is paid
// for. The caller opens an entry that is new.
func (t *table) take(doc docid.Document) (d *Document, isNew bool, wait <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d = t.live[doc]
	if d != nil && d.closing {
		return nil, false, d.goneLocked()
	}
	if p := t.paying[doc]; d == nil && p != nil {
		p.giveWay(errTaken)
		return nil, false, p.done
	}
	if isNew = d == nil; isNew {
		d = &Document{doc: doc, opened: make(chan struct{})}
		t.live[doc] = d
		d.id = t.list.Add(d)
	}
	d.users++
	return d, isNew, nil
}

// leave counts a user out. If that was the last one, the caller gives the document up.
func (t *table) leave(d *Document) (left time.Time, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.users--
	if d.users > 0 || d.closing || t.live[d.doc] != d {
		return left, false
	}
	d.lastLeft = time.Now()
	return d.lastLeft, true
}

// abandoned reports whether nobody has come since left; if so and commit is set,
// nobody can come any more.
func (t *table) abandoned(d *Document, left time.Time, commit bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.users > 0 || d.closing || !d.lastLeft.Equal(left) || t.live[d.doc] != d {
		return false
	}
	d.closing = commit
	return true
}

// remove takes the entry out.
func (t *table) remove(d *Document) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[d.doc] == d {
		delete(t.live, d.doc)
	}
	t.list.Remove(d.id)
	if d.gone != nil {
		close(d.gone)
	}
	if len(t.live) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// find returns the document if it is open, and tells one that is being opened from none.
func (t *table) find(doc docid.Document) (d *Document, opening bool) {
	t.mu.Lock()
	d = t.live[doc]
	t.mu.Unlock()
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

// entry returns the document's entry, in whatever state, and what is closed when it has
// been removed.
func (t *table) entry(doc docid.Document) (*Document, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.live[doc]
	if d == nil {
		return nil, nil
	}
	return d, d.goneLocked()
}

// gone is closed when an entry in which the caller has a place has been removed.
func (t *table) gone(d *Document) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return d.goneLocked()
}

func (d *Document) goneLocked() <-chan struct{} {
	if d.gone == nil {
		d.gone = make(chan struct{})
	}
	return d.gone
}

// listed returns an entry's id in listings, and whether it closes.
func (t *table) listed(d *Document) (id uint64, closing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return d.id, d.closing
}

// beginPayment enters a payment, unless this node has a room of the life, or may have.
func (t *table) beginPayment(l life, p *payment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.live[l.doc]
	if t.paying[l.doc] != nil || d != nil && (d.closing || !d.IsOpen() || d.room.Epoch() == l.epoch) {
		return false
	}
	t.paying[l.doc] = p
	return true
}

// endPayment takes a payment out, whose room is closed.
func (t *table) endPayment(l life, p *payment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.paying, l.doc)
	close(p.done)
}

// awaitEmpty waits until no document is live.
func (t *table) awaitEmpty(ctx context.Context) error {
	t.mu.Lock()
	if len(t.live) == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		return fmt.Errorf("%d documents were not given up in time: %w", len(t.live), ctx.Err())
	}
}
