package kvpin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// document is what a bucket keeps about one document while it is held, owed or in
// an operation.
type document struct {
	// static
	name docid.Document
	key  string
	turn chan struct{} // holds one token while somebody has the turn

	// guarded by the bucket's mu
	telling   chan struct{} // holds one token while Rooms is being told; nil: it never was
	users     int           // who has the turn or waits for it
	next      time.Time     // when the debt is due, if it is among the due
	backstop  bool          // the debt is only to renew the pin's expiry
	lingering bool          // the debt is only to look whether a write still lands

	// nil: this node wants to be out. Written with the turn and mu, read with either.
	hold *Hold

	// owned by whoever has the turn
	lastLeft time.Time // when its last session ended; zero if it had none
	was      Pin       // of the last hold
	doubts   []doubt
	attempts int  // failed ones, in a row
	tell     news // what Rooms has not yet been told successfully
}

// news is what Rooms is to be told about a pin.
type news int

const (
	nothing news = iota
	moved
	ended
	restored
	rebased
)

// final news come with the end of the hold.
func (n news) final() bool { return n == moved || n == ended }

// begin takes the document's turn: a node does one registry operation per document
// at a time.
func (b *bucket) begin(ctx context.Context, doc docid.Document) (*document, error) {
	b.mu.Lock()
	d := b.docs[doc]
	if d == nil {
		d = &document{name: doc, key: doc.PinKey(), turn: make(chan struct{}, 1)}
		b.docs[doc] = d
	}
	d.users++
	b.mu.Unlock()
	select {
	case d.turn <- struct{}{}:
		return d, nil
	case <-ctx.Done():
		b.leaveTurn(d)
		return nil, fmt.Errorf("%w: an earlier operation on %s is under way: %w", ErrUnavailable, doc, ctx.Err())
	}
}

// end gives the turn back.
func (b *bucket) end(d *document) {
	<-d.turn
	b.leaveTurn(d)
}

// leaveTurn forgets a document that nobody uses, holds or owes.
func (b *bucket) leaveTurn(d *document) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.users--
	if _, owed := b.due[d]; d.users == 0 && !owed && d.hold == nil {
		delete(b.docs, d.name)
		delete(b.validating, d)
	}
}

// owe puts the document among the debts, due after a delay. An earlier date stays.
func (b *bucket) owe(d *document, delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.lingering = false
	b.oweLocked(d, delay)
}

func (b *bucket) oweLocked(d *document, delay time.Duration) {
	next := time.Now().Add(delay)
	if _, owed := b.due[d]; owed && d.next.Before(next) {
		return
	}
	d.next = next
	b.due[d] = struct{}{}
	signal(b.kick)
}

// linger has the pin of a document that is not held looked at again while a write
// without an answer may still land: soon at first, then less often.
func (b *bucket) linger(d *document) {
	if d.hold != nil || len(d.doubts) == 0 {
		return
	}
	age := time.Since(d.doubts[0].at)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, owed := b.due[d]
	d.lingering = !owed || d.lingering
	b.oweLocked(d, min(max(age/2, b.cfg.RenewEvery/2), time.Minute))
}

// me is this node as a holder, if its lease is current.
func (b *bucket) me() (Holder, held, error) {
	lease, ok := b.lease.current(time.Now())
	if !ok {
		return Holder{}, held{}, fmt.Errorf("%w: this node has no lease in registry %s", ErrUnavailable, b.license)
	}
	return Holder{b.cfg.Node, lease.id}, lease, nil
}

// writePin writes the document's pin and keeps the books about its outcome.
func (b *bucket) writePin(ctx context.Context, d *document, p Pin, expect uint64, ttl time.Duration) (Pin, error) {
	before := b.store.Incarnation()
	revision, err := b.put(ctx, d.key, p.encode(ttl), expect, ttl)
	switch {
	case err == nil:
		p.Revision = revision
		b.sawRevision(d, revision)
	case isUnsettled(err):
		d.doubts = append(d.doubts, b.fence.doubt(expect, before, b.store.Incarnation()))
	}
	return p, err
}

// readPin reads the document's entry and drops the doubts that it settles.
func (b *bucket) readPin(ctx context.Context, d *document) (kv.Entry, error) {
	over := make([]bool, len(d.doubts))
	for i, doubt := range d.doubts {
		over[i] = b.fence.over(doubt) // before the read, which then shows the outcome
	}
	e, err := b.get(ctx, d.key)
	if err != nil {
		return e, err
	}
	i := 0
	d.doubts = slices.DeleteFunc(d.doubts, func(doubt) bool { i++; return over[i-1] })
	b.sawRevision(d, e.Revision)
	return e, nil
}

// sawRevision drops the doubts that a revision settles. Revisions do not return,
// so a write that waits for another one never lands; only the one that waits for
// an empty key may, once this one's trace is gone.
func (b *bucket) sawRevision(d *document, revision uint64) {
	d.doubts = slices.DeleteFunc(d.doubts, func(u doubt) bool {
		return u.expect != revision && u.expect != 0 || u.expect == 0 && b.fence.over(u)
	})
}

// doubted reports whether a write may still land on the revision.
func (d *document) doubted(revision uint64) bool {
	return slices.ContainsFunc(d.doubts, func(u doubt) bool { return u.expect == revision })
}

// backoff is the time before the next attempt at a debt.
func (d *document) backoff() time.Duration {
	d.attempts++
	most := 3 * time.Second
	if d.attempts < 6 {
		most = 100 * time.Millisecond << (d.attempts - 1)
	}
	return most/2 + rand.N(most/2)
}
