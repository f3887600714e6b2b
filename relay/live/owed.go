package live

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/storage"
)

const (
	// renewOwed is how often the expiry of a pin is renewed that is owed: its backstop is
	// hours.
	renewOwed = 30 * time.Minute
	// payMost is the longest time between two attempts to pay while the store is away.
	payMost = time.Minute
	// stuckAgain is the longest time between two attempts to store a life that waits for an
	// operator: there may be many of them, and each is tried however the others fare.
	stuckAgain = 10 * time.Minute
)

// payments have the store keep what stored lives hold that have ended: what such a life
// holds and the store does not is owed. The record is its history, and a pin without
// holders that is marked so: nothing else has to survive. Any node of the region pays, by
// opening a room without users: it merges, stores and goes.
//
// A life's pin and its history go only when the store has what they hold. While the store
// is away it is asked for one life at a time, and ever more rarely, however many are owed.
type payments struct {
	docs *Documents

	mu      sync.Mutex
	backoff backoff
	renewed map[life]time.Time // pins that are owed: when their expiry was
	since   map[life]time.Time // lives that are not stored: since when that is known
	stuck   map[life]struct{}  // of these, those of which an operator was told
}

func (p *payments) init(ds *Documents) {
	p.docs, p.renewed, p.since, p.stuck = ds, map[life]time.Time{}, map[life]time.Time{}, map[life]struct{}{}
}

// backoff keeps a node that owes thousands of documents from asking a store that is away
// for each of them. Guarded by payments.mu.
type backoff struct {
	until time.Time
	wait  time.Duration
}

// rest returns how long an owed life waits for the store without being looked at: thousands that
// are owed while it is away cost nothing but their renewals.
func (p *payments) rest(l life, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if renewed, owed := p.renewed[l]; !owed || now.Sub(renewed) > renewOwed {
		return 0
	}
	return p.backoff.until.Sub(now)
}

// mayPay returns how long to wait until the store is worth asking. While it is away, it is
// asked for one life at a time.
func (p *payments) mayPay(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait = p.backoff.until.Sub(now); wait > 0 {
		return wait + time.Millisecond
	}
	if p.backoff.wait > 0 {
		p.backoff.until = now.Add(p.backoff.wait)
	}
	return 0
}

// paid notes what came of an attempt, and returns when to look again.
func (p *payments) paid(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if p.backoff.wait > 0 {
			p.docs.o.Log.Info("what ended lives hold is stored again")
		}
		p.backoff = backoff{}
		return time.Millisecond
	}
	if p.backoff.wait == 0 {
		p.docs.o.Log.Error("what ended lives hold cannot be stored; their histories keep it, and this is tried again", "err", err)
	}
	p.backoff.wait = min(max(2*p.backoff.wait, time.Second), payMost)
	wait := p.backoff.wait/2 + rand.N(p.backoff.wait/2)
	p.backoff.until = time.Now().Add(wait)
	return wait
}

// isItsOwn reports whether a life is not stored for what it is, or what the store has of its
// document. The store is not away then.
func isItsOwn(err error) bool {
	return isLoss(err) || errors.Is(err, errOtherStore) || errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrTooLarge)
}

// notPaid notes an attempt that failed for the life's own sake, which is said once, and
// returns when to look again. Others are not kept from the store by it.
func (p *payments) notPaid(l life, err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, told := p.stuck[l]; !told {
		p.stuck[l] = struct{}{}
		p.docs.o.Log.Error("what an ended life holds cannot be stored until an operator has looked; its history keeps it",
			"document", l.doc.String(), "epoch", l.epoch, "err", err)
	}
	return stuckAgain/2 + rand.N(stuckAgain/2)
}

// notStored notes since when it is known that a life is not stored.
func (p *payments) notStored(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since[l].IsZero() {
		p.since[l] = time.Now()
	}
}

// stored notes that the store has what a life holds.
func (p *payments) stored(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, l)
	delete(p.stuck, l)
}

// hasRenewed notes when the expiry of a life's pin was.
func (p *payments) hasRenewed(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed[l] = time.Now()
}

// forget drops what is known of a life of which nothing is left to do.
func (p *payments) forget(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.renewed, l)
	delete(p.since, l)
	delete(p.stuck, l)
}

// owing counts the lives that are not stored, and returns since when the oldest is known.
func (p *payments) owing(s *Storing) (oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Owed = len(p.since)
	for _, since := range p.since {
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	return oldest
}
