package kvpin

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// document is what a node keeps about one document while it is held, owed or in
// an operation.
type document struct {
	// static
	name docid.Document
	key  string
	turn chan struct{} // holds one token while somebody has the turn

	// guarded by the documents' mu
	notifying chan struct{} // holds one token while Rooms is being told; nil: it never was
	users     int           // who has the turn or waits for it
	next      time.Time     // when what is owed is due, if it is among the due
	backstop  bool          // owed only to renew the pin's expiry
	lingering bool          // owed only to look whether a write still lands

	// nil: this node wants to be out. Written with the turn and mu, read with either.
	hold *Hold

	// owned by whoever has the turn
	lastLeft  time.Time // when its last session ended; zero if it had none
	void      bool      // who leaves last removes the pin
	was       Pin       // of the last hold
	unsettled []unsettledWrite
	attempts  int  // failed ones, in a row
	news      news // what Rooms has not yet been told successfully
}

// news is what Rooms is to be told about a pin.
type news int

const (
	nothing news = iota
	renewed
	moved
	ended
	restored
	rebased
)

// final news come with the end of the hold.
func (n news) final() bool { return n == moved || n == ended }

// writePin writes the document's pin, without a mark that it moves: whoever changes the
// pin ends the move.
func (ps *pins) writePin(ctx context.Context, d *document, p Pin, expect uint64, ttl time.Duration) (Pin, error) {
	p.Moving = nil
	return ps.writeAs(ctx, d, p, expect, ttl)
}

// writeAs writes the document's pin and keeps the books about its outcome.
func (ps *pins) writeAs(ctx context.Context, d *document, p Pin, expect uint64, ttl time.Duration) (Pin, error) {
	before := ps.requests.store.Incarnation()
	revision, err := ps.requests.put(ctx, d.key, p.encode(ttl), expect, ttl)
	switch {
	case err == nil:
		p.Revision = revision
		ps.sawRevision(d, revision)
		ps.debts.note(d.name, p.Owed)
	case isUnsettled(err):
		d.unsettled = append(d.unsettled, ps.requests.fence.unsettled(expect, before, ps.requests.store.Incarnation()))
	}
	return p, err
}

// readPin reads the document's entry and drops the unsettled writes that it settles.
func (ps *pins) readPin(ctx context.Context, d *document) (kv.Entry, error) {
	over := make([]bool, len(d.unsettled))
	for i, write := range d.unsettled {
		over[i] = ps.requests.fence.over(write) // before the read, which then shows the outcome
	}
	e, err := ps.requests.get(ctx, d.key)
	if err != nil {
		return e, err
	}
	i := 0
	d.unsettled = slices.DeleteFunc(d.unsettled, func(unsettledWrite) bool { i++; return over[i-1] })
	ps.sawRevision(d, e.Revision)
	return e, nil
}

// sawRevision drops the unsettled writes that a revision settles. Revisions do not
// return, so a write that waits for another one never lands; only the one that waits for
// an empty key may, once this one's trace is gone.
func (ps *pins) sawRevision(d *document, revision uint64) {
	d.unsettled = slices.DeleteFunc(d.unsettled, func(u unsettledWrite) bool {
		return u.expect != revision && u.expect != 0 || u.expect == 0 && ps.requests.fence.over(u)
	})
}

// mayLand reports whether a write may still land on the revision.
func (d *document) mayLand(revision uint64) bool {
	return slices.ContainsFunc(d.unsettled, func(u unsettledWrite) bool { return u.expect == revision })
}

// backoff is the time before the next attempt at what is owed.
func (d *document) backoff() time.Duration {
	d.attempts++
	most := 3 * time.Second
	if d.attempts < 6 {
		most = 100 * time.Millisecond << (d.attempts - 1)
	}
	return most/2 + rand.N(most/2)
}
