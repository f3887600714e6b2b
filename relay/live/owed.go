package live

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
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
// A life's pin and its history go only when the store has what they hold. While a store
// is away it is asked for one life at a time, and ever more rarely, however many are owed.
// Each license region has its own store, and none waits for that of another; nor does
// what fails for the sake of one life keep others waiting.
type payments struct {
	docs *Documents

	mu      sync.Mutex
	stores  map[docid.LicenseRegion]*backoff
	renewed map[life]time.Time // pins that are owed: when their expiry was
	since   map[life]time.Time // lives that are not stored: since when that is known
	refused map[life]refused   // of these, those that the store did not take last time
	stuck   map[life]struct{}  // of these, those of which an operator was told
	failing map[life]failing   // lives whose end has failed since
	// Messages of their histories that lack parts, since when they are known: a room that pays
	// is open for moments.
	unfinished map[life]map[oplog.Key]time.Time
	storeless  map[docid.LicenseRegion]struct{} // license regions of which an operator was told that they have no store here
}

func (p *payments) init(ds *Documents) {
	p.docs = ds
	p.stores, p.storeless = map[docid.LicenseRegion]*backoff{}, map[docid.LicenseRegion]struct{}{}
	p.renewed, p.since = map[life]time.Time{}, map[life]time.Time{}
	p.refused, p.stuck = map[life]refused{}, map[life]struct{}{}
	p.failing = map[life]failing{}
	p.unfinished = map[life]map[oplog.Key]time.Time{}
}

// backoff keeps a node that owes thousands of documents from asking a store that is away
// for each of them. Guarded by payments.mu.
type backoff struct {
	until  time.Time
	wait   time.Duration
	worked time.Time // when the store took a life last
}

// refused is a life that its store did not take: when, and how long it waited for that.
type refused struct {
	at   time.Time
	wait time.Duration
}

// failing is a life that does not come to its end: since when, and whether an operator was
// told.
type failing struct {
	since time.Time
	told  bool
}

// tellAfter is how long a life must have failed to come to its end until an operator is told:
// what passes by itself is no news.
const tellAfter = time.Minute

// storeLocked is the backoff of the store of a license region. Callers hold mu.
func (p *payments) storeLocked(license docid.LicenseRegion) *backoff {
	b := p.stores[license]
	if b == nil {
		b = new(backoff)
		p.stores[license] = b
	}
	return b
}

// rest returns how long an owed life waits for the store without being looked at: thousands that
// are owed while it is away cost nothing but their renewals.
func (p *payments) rest(l life, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if renewed, owed := p.renewed[l]; !owed || now.Sub(renewed) > renewOwed {
		return 0
	}
	return p.storeLocked(l.doc.License).until.Sub(now)
}

// mayPay returns how long to wait until the store of a license region is worth asking. While
// it is away, it is asked for one life at a time.
func (p *payments) mayPay(license docid.LicenseRegion, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.storeLocked(license)
	if wait = b.until.Sub(now); wait > 0 {
		return wait + time.Millisecond
	}
	if b.wait > 0 {
		b.until = now.Add(b.wait)
	}
	return 0
}

// unasked notes that an attempt says nothing of the store: while that is away, another life
// may ask it in its place.
func (p *payments) unasked(license docid.LicenseRegion) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.storeLocked(license).until = time.Time{}
}

// came notes what came of an attempt to have a life stored, and returns when to look again.
func (p *payments) came(l life, err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, b := time.Now(), p.storeLocked(l.doc.License)
	switch {
	case err == nil:
		if b.wait > 0 {
			p.docs.o.Log.Info("what ended lives hold is stored again", "license", l.doc.License)
		}
		*b = backoff{worked: now}
		delete(p.refused, l)
		return time.Millisecond
	case isItsOwn(err):
		b.until = time.Time{}
		return p.stuckLocked(l, err)
	case !isStores(err):
		b.until = time.Time{}
		return lookAgain // the history, say, which others may not need
	}
	last, again := p.refused[l]
	own := again && !b.worked.Before(last.at) // it has taken others since
	p.refused[l] = refused{now, min(max(2*last.wait, time.Second), payMost)}
	if own {
		return jittered(p.refused[l].wait)
	}
	if b.wait == 0 {
		p.docs.o.Log.Error("what ended lives hold cannot be stored; their histories keep it, and this is tried again",
			"license", l.doc.License, "err", err)
	}
	b.wait = min(max(2*b.wait, time.Second), payMost)
	wait := jittered(b.wait)
	b.until = now.Add(wait)
	return wait
}

// jittered is half of a time to the whole.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// isItsOwn reports whether a life is not stored for what it is, or what the store has of its
// document, or for want of a store for it here: time alone does not mend that. No other life
// waits for it.
func isItsOwn(err error) bool {
	version, kind := (*oplog.VersionError)(nil), (*oplog.KindError)(nil)
	return isLoss(err) || room.Unsound(err) || errors.Is(err, errOtherStore) || errors.Is(err, errNoStore) ||
		errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrTooLarge) ||
		errors.Is(err, oplog.ErrMalformed) || errors.As(err, &version) || errors.As(err, &kind)
}

// stuckLocked notes an attempt that failed for the life's own sake, which is said once, and
// returns when to look again. Callers hold mu.
func (p *payments) stuckLocked(l life, err error) time.Duration {
	_, told := p.stuck[l]
	p.stuck[l] = struct{}{}
	log := p.docs.o.Log.With("document", l.doc.String(), "epoch", l.epoch, "err", err)
	switch _, known := p.storeless[l.doc.License]; {
	case !errors.Is(err, errNoStore) && !told:
		log.Error("what an ended life holds cannot be stored until an operator has looked; its history keeps it")
	case errors.Is(err, errNoStore) && !known:
		p.storeless[l.doc.License] = struct{}{}
		log.Warn("ended lives of a license region can be stored only by nodes that have its store", "license", l.doc.License)
	}
	return jittered(stuckAgain)
}

// looked notes what came of a look at a life that is to end. Of one that fails again and again
// an operator is told, once, unless that is said elsewhere: of the store, of the registry, and of what is wrong
// with the life itself.
func (p *payments) looked(l life, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, known := p.failing[l]
	switch {
	case err == nil:
		delete(p.failing, l)
		return
	case isStores(err) || isItsOwn(err) || errors.Is(err, kvpin.ErrUnavailable):
		return
	case !known:
		f.since = now
	case !f.told && now.Sub(f.since) >= tellAfter:
		f.told = true
		p.docs.o.Log.Warn("an ended life does not come to its end; its history stays, and this is tried again",
			"document", l.doc.String(), "epoch", l.epoch, "since", f.since, "err", err)
	}
	p.failing[l] = f
}

// notStored notes that a life has not been stored since a time, or since before.
func (p *payments) notStored(l life, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.since[l]; known.IsZero() || since.Before(known) {
		p.since[l] = since
	}
}

// owes reports whether a life is among those that are not stored.
func (p *payments) owes(l life) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, owed := p.since[l]
	return owed
}

// takenUp returns since when a life has not been stored that users have taken up again; zero if
// nothing is known of that. From then on it is its keeper who knows, and who says it when they
// have left: whoever comes and goes while the store is away makes what it lacks no younger.
func (p *payments) takenUp(l life) (since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since = p.since[l]
	delete(p.since, l)
	return since
}

// stored notes that the store has what a life holds.
func (p *payments) stored(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(l)
}

func (p *payments) forgetLocked(l life) {
	delete(p.since, l)
	delete(p.stuck, l)
	delete(p.refused, l)
	delete(p.unfinished, l)
}

func (p *payments) knownUnfinished(l life) map[oplog.Key]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unfinished[l]
}

func (p *payments) noteUnfinished(l life, known map[oplog.Key]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unfinished[l] = known; len(known) == 0 {
		delete(p.unfinished, l)
	}
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
	p.forgetLocked(l)
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
