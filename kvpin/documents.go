package kvpin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// documents are the documents that this node holds, owes or operates on. Each is used
// by one operation at a time, which has its turn; and none is forgotten that is held
// or owed.
type documents struct {
	cfg   *Config // static
	fence *fence
	kick  chan struct{} // wakes the goroutine that writes what is owed

	mu         sync.Mutex
	docs       map[docid.Document]*document
	due        map[*document]struct{} // owed
	validating map[*document]struct{} // not yet gone through after a lost lease
}

func newDocuments(cfg *Config, fence *fence) *documents {
	return &documents{
		cfg: cfg, fence: fence, kick: make(chan struct{}, 1),
		docs: make(map[docid.Document]*document), due: make(map[*document]struct{}), validating: make(map[*document]struct{}),
	}
}

// begin takes the document's turn: a node does one registry operation per document
// at a time.
func (ds *documents) begin(ctx context.Context, doc docid.Document) (*document, error) {
	ds.mu.Lock()
	d := ds.docs[doc]
	if d == nil {
		d = &document{name: doc, key: doc.PinKey(), turn: make(chan struct{}, 1)}
		ds.docs[doc] = d
	}
	d.users++
	ds.mu.Unlock()
	select {
	case d.turn <- struct{}{}:
		return d, nil
	case <-ctx.Done():
		ds.leaveTurn(d)
		return nil, fmt.Errorf("%w: an earlier operation on %s is under way: %w", ErrUnavailable, doc, ctx.Err())
	}
}

// end gives the turn back.
func (ds *documents) end(d *document) {
	<-d.turn
	ds.leaveTurn(d)
}

// leaveTurn forgets a document that nobody uses, holds or owes.
func (ds *documents) leaveTurn(d *document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.users--
	if _, owed := ds.due[d]; d.users == 0 && !owed && d.hold == nil {
		delete(ds.docs, d.name)
		delete(ds.validating, d)
	}
}

// owes reports whether something is to be done for the document, and not only to be looked at.
func (ds *documents) owes(d *document) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	_, owed := ds.due[d]
	return owed && !d.lingering
}

// owe puts the document among the owed, due after a delay. An earlier date stays.
func (ds *documents) owe(d *document, delay time.Duration) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.lingering = false
	ds.oweLocked(d, delay)
}

func (ds *documents) oweLocked(d *document, delay time.Duration) {
	next := time.Now().Add(delay)
	if _, owed := ds.due[d]; owed && d.next.Before(next) {
		return
	}
	d.next = next
	ds.due[d] = struct{}{}
	signal(ds.kick)
}

// linger has the pin of a document that is not held looked at again while a write
// without an answer may still land: soon at first, then less often.
func (ds *documents) linger(d *document) {
	if d.hold != nil || len(d.unsettled) == 0 {
		return
	}
	age := time.Since(d.unsettled[0].at)
	ds.mu.Lock()
	defer ds.mu.Unlock()
	_, owed := ds.due[d]
	d.lingering = !owed || d.lingering
	ds.oweLocked(d, min(max(age/2, ds.cfg.RenewEvery/2), time.Minute))
}

// oweRelease has a release made whose turn did not come.
func (ds *documents) oweRelease(h *Hold) {
	ds.mu.Lock()
	d := ds.docs[h.doc]
	ds.mu.Unlock()
	if d != nil {
		ds.owe(d, 0)
	}
}

// validateAll sends every held document through validation: the lease is new.
func (ds *documents) validateAll() {
	ds.mu.Lock()
	for _, d := range ds.docs {
		if d.hold != nil {
			ds.validating[d] = struct{}{}
			d.next = time.Now()
			ds.due[d] = struct{}{}
		}
	}
	ds.mu.Unlock()
	signal(ds.kick) // what was owed before waits for a lease as well
}

// validated reports whether every document has been gone through since the last
// lease was lost.
func (ds *documents) validated() bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return len(ds.validating) == 0
}

// lookAgain validates one document on somebody's notice.
func (ds *documents) lookAgain(doc docid.Document) {
	ds.mu.Lock()
	d := ds.docs[doc]
	if d != nil {
		d.backstop = false
	}
	ds.mu.Unlock()
	if d != nil {
		ds.owe(d, 0)
	}
}

// takeDue takes the owed documents that are due, and says when to come again. The taken
// ones count as used, so that they are not forgotten.
func (ds *documents) takeDue(now time.Time) (ready []*document, wait time.Duration) {
	wait = time.Minute
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for d := range ds.due {
		if rest := d.next.Sub(now); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		delete(ds.due, d)
		d.users++
		ready = append(ready, d)
	}
	return ready, wait
}

// owedLocked counts the owed documents, without those that only wait for a late write.
func (ds *documents) owedLocked() (owed int) {
	for d := range ds.due {
		if !d.lingering {
			owed++
		}
	}
	return owed
}

// owing counts the owed documents, those that are being worked off included.
func (ds *documents) owing() int {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	owed := ds.owedLocked()
	for _, d := range ds.docs {
		if d.hold == nil && d.users > 0 {
			owed++ // one that is being worked off
		}
	}
	return owed
}

// any reports whether a document is held, owed or operated on.
func (ds *documents) any() bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return len(ds.docs) > 0
}

// oweRenewals has the pins renewed that have seen no write for long.
func (ds *documents) oweRenewals(now time.Time) {
	ds.mu.Lock()
	var stale []*document
	for _, d := range ds.docs {
		if _, owed := ds.due[d]; !owed && d.hold != nil && d.hold.wantsRenewal(now) {
			d.backstop = true
			stale = append(stale, d)
		}
	}
	ds.mu.Unlock()
	for _, d := range stale {
		ds.owe(d, 0)
	}
}
