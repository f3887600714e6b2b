package kvpin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// lease is this node's lease in one registry, and its keeping. A lease that was lost
// never returns: the next one has a new id, and every document that is held goes
// through validation under it. Its time is counted from before the request, so that
// it ends here before it ends at the registry.
type lease struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	clock    *bucketClock
	docs     *documents
	regions  *regions
	ensure   func(context.Context) (created bool, err error) // nil: nothing to ensure
	owes     func() bool                                     // whether others are to look at pins when the lease is given back

	draining atomic.Bool
	leaving  atomic.Bool
	renewal  chan struct{} // asks for a renewal now
	unkept   chan struct{} // closed when nobody renews the lease any more
	opened   chan struct{} // closed with the first lease, or with a fault
	opening  sync.Once
	lost     atomic.Uint64 // how many were

	mu       sync.Mutex
	id       LeaseID // empty: none yet, or lost
	until    time.Time
	since    time.Time // unbroken since
	revision uint64
	// candidate is an id that was written without an answer: if the key holds it,
	// it is ours.
	candidate LeaseID
	// settling are lost leases whose pins are being gone through.
	settling []LeaseID
	// broken are those of settling that were followed by a time without a lease.
	broken     []LeaseID
	started    time.Time // of the first attempt
	had        bool      // there was a lease before
	renewError error     // of the last attempt
	unusable   error     // why the bucket cannot be used
}

func newLease(cfg *Config, license docid.LicenseRegion, requests *requests, clock *bucketClock, docs *documents, regions *regions) *lease {
	return &lease{
		cfg: cfg, license: license, requests: requests, clock: clock, docs: docs, regions: regions,
		renewal: make(chan struct{}, 1),
		unkept:  make(chan struct{}),
		opened:  make(chan struct{}),
	}
}

// held is a snapshot of a lease that is current.
type held struct {
	id    LeaseID
	until time.Time
	since time.Time
}

// current returns the lease if it has not run out.
func (l *lease) current(now time.Time) (held, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return held{l.id, l.until, l.since}, l.id != "" && now.Before(l.until)
}

// isCurrent reports whether the node has a lease.
func (l *lease) isCurrent(now time.Time) bool {
	_, ok := l.current(now)
	return ok
}

// covers reports whether a holder entry of this node counts as alive.
func (l *lease) covers(id LeaseID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id != "" && now.Before(l.until) && (l.id == id || slices.Contains(l.settling, id))
}

// ranOut reports whether a lost lease was followed by a time in which this node had
// none.
func (l *lease) ranOut(id LeaseID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.broken, id)
}

// over reports whether a lease is over by then, given until when it was current. The
// monotonic clock stands still while a machine is suspended; the wall clock does not.
func over(until, then time.Time) bool {
	return !then.Before(until) || then.Round(0).After(until.Round(0))
}

// newLeaseID begins with the region, so that a lease can be found from its id and
// its node alone.
func newLeaseID(r docid.Region) LeaseID { return LeaseID(string(r) + "/" + rand.Text()[:16]) }

// region is the region of the node that has the lease; empty if id is not the id of
// a lease.
func (id LeaseID) region() docid.Region {
	region, _, ok := strings.Cut(string(id), "/")
	if !ok {
		return ""
	}
	return docid.Region(region)
}

// leaseKey is the key of a node's lease. The region in it lets a node watch its own
// region only: watching all would cost the square of the number of nodes.
func leaseKey(r docid.Region, n docid.NodeID) string {
	return leasePrefix + string(r) + "." + string(n)
}

func (l *lease) key() string { return leaseKey(l.cfg.Region, l.cfg.Node) }

// keep takes the lease, renews it, and takes another one when it is lost.
func (l *lease) keep(ctx context.Context) {
	defer close(l.unkept)
	l.mu.Lock()
	l.started = time.Now()
	l.mu.Unlock()
	ensured := l.ensure == nil
	var missing time.Time // since when no bucket answers
	for ctx.Err() == nil && !l.leaving.Load() {
		if !ensured || !missing.IsZero() && l.ensure != nil && time.Since(missing) > recreateAfter {
			if err := l.ensureBucket(ctx); err != nil {
				l.setRenewError(err)
				l.wait(ctx, time.Second)
				continue
			}
			ensured, missing = true, time.Time{}
		}
		start := time.Now()
		err := l.renew(ctx)
		l.requests.observe("renew", start, err)
		l.setRenewError(err)
		if err == nil {
			l.regions.publishDue(ctx)
		}
		if !errors.Is(err, kv.ErrNoBucket) {
			missing = time.Time{}
		} else if missing.IsZero() {
			missing = start
		}
		if err == nil {
			l.wait(ctx, jitter(l.cfg.RenewEvery))
		} else {
			l.wait(ctx, jitter(l.cfg.RenewEvery/10))
		}
	}
}

// recreateAfter is how long a bucket must be missing before it is created again: an
// operator who restores it from a copy has that time between deleting and
// restoring.
const recreateAfter = 5 * time.Second

// jitter spreads the nodes' renewals: d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + mathrand.N(max(d/5, 1))
}

// wait waits for d, until somebody asks for a renewal, or until ctx ends.
func (l *lease) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.renewal:
	case <-ctx.Done():
	}
}

// ensureBucket checks or creates the bucket. What is wrong with it is kept for
// Open, or logged later.
func (l *lease) ensureBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	created, err := l.ensure(ctx)
	var unusable *BucketError
	switch {
	case created:
		l.cfg.Log.Info("created registry bucket", "bucket", bucketName(l.license))
	case errors.As(err, &unusable):
		if l.isOpen() && l.fault() == nil {
			l.cfg.Log.Error("registry cannot be used", "license", l.license, "error", err)
		}
		l.open(fmt.Errorf("license region %s: %w", l.license, err))
	}
	return err
}

// renew renews the lease or takes a new one. The time of a lease is counted from
// before its request, so that it ends here before it ends at the server.
func (l *lease) renew(ctx context.Context) error {
	if _, ok := l.current(time.Now()); !ok {
		l.lose("it ran out")
		return l.acquire(ctx)
	}
	l.mu.Lock()
	id, revision := l.id, l.revision
	l.mu.Unlock()
	if l.docs.validated() {
		l.mu.Lock()
		l.settling, l.broken = nil, nil
		l.mu.Unlock()
	}
	for range 2 {
		start, highest := time.Now(), l.requests.highest.Load()
		next, err := l.requests.write(ctx, l.key(), l.record(id).encode(), revision, l.cfg.LeaseTTL)
		if err == nil && next < highest {
			l.requests.highest.Store(next)
			l.lose("the registry was restored from an old copy")
			return l.acquire(ctx)
		}
		if err == nil {
			l.mu.Lock()
			l.until, l.revision = start.Add(l.cfg.LeaseTTL), next
			l.mu.Unlock()
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		e, err := l.requests.read(ctx, l.key())
		if err != nil {
			return err
		}
		if record, err := decodeLease(e); !e.Present || err != nil || record.Lease != id {
			l.requests.highest.Store(0) // perhaps the bucket is another one
			l.lose("its key was removed or replaced")
			return l.acquire(ctx)
		}
		revision = e.Revision // a renewal whose answer was lost
	}
	return fmt.Errorf("renew lease: %w", ErrConflict)
}

// lose forgets the lease for good.
func (l *lease) lose(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == "" {
		return
	}
	l.cfg.Log.Warn("lost the lease", "license", l.license, "lease", l.id, "why", why)
	l.lost.Add(1)
	l.settling = append(l.settling, l.id)
	l.id, l.revision = "", 0
}

// acquire takes a lease with a new id and has every pin gone through.
func (l *lease) acquire(ctx context.Context) error {
	e, err := l.requests.read(ctx, l.key())
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.candidate == "" {
		l.candidate = newLeaseID(l.cfg.Region)
	}
	id, had, settling := l.candidate, l.had, slices.Clone(l.settling)
	l.mu.Unlock()
	if record, current, err := l.clock.leaseOf(e, l.cfg.LeaseTTL); had && (current || err != nil) {
		if ours := err == nil && (record.Lease == id || slices.Contains(settling, record.Lease)); !ours {
			// The newest process wins; the older one waits until the key is gone
			// instead of taking turns with it.
			return fmt.Errorf("%w: another process runs as node %s", ErrUnavailable, l.cfg.Node)
		}
	}
	start := time.Now()
	revision, err := l.requests.write(ctx, l.key(), l.record(id).encode(), e.Revision, l.cfg.LeaseTTL)
	if err != nil {
		return err
	}
	l.regions.publish(ctx)
	if had || l.lastError() != nil {
		l.cfg.Log.Info("the registry answers, took a new lease", "license", l.license, "lease", id)
	}
	l.mu.Lock()
	if over(l.until, start) {
		l.broken = slices.Clone(l.settling)
	}
	l.id, l.candidate, l.revision, l.had = id, "", revision, true
	l.until, l.since = start.Add(l.cfg.LeaseTTL), time.Now()
	l.mu.Unlock()
	l.requests.pace.restart()
	l.docs.validateAll()
	l.open(nil)
	return nil
}

func (l *lease) record(id LeaseID) leaseRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := leaseRecord{Region: l.cfg.Region, Lease: id, Settling: l.settling, Draining: l.draining.Load(), Started: l.started, TTL: int64(l.cfg.LeaseTTL / time.Second), Clock: time.Now().UTC()}
	if l.cfg.Load != nil {
		r.Load = l.cfg.Load()
	}
	r.About = about(l.cfg, l.license)
	return r
}

// giveBack ends the lease by a record that says that its holder has left, instead of by
// deleting it: nobody then looks for orphaned pins, unless the record says that there may be
// some.
func (l *lease) giveBack(ctx context.Context) error {
	l.mu.Lock()
	id, revision := l.id, l.revision
	l.id = ""
	l.mu.Unlock()
	if id == "" {
		return nil
	}
	record := l.record(id)
	record.Left, record.Owes = true, l.owes()
	_, err := l.requests.write(ctx, l.key(), record.encode(), revision, time.Second)
	if errors.Is(err, ErrConflict) { // a renewal whose answer was lost
		var e kv.Entry
		if e, err = l.requests.read(ctx, l.key()); err == nil && e.Present {
			_, err = l.requests.write(ctx, l.key(), record.encode(), e.Revision, time.Second)
		}
	}
	if err != nil {
		return fmt.Errorf("give lease back in registry %s: %w", l.license, err)
	}
	return nil
}

// end waits until nobody renews the lease any more, and gives it back.
func (l *lease) end(ctx context.Context) error {
	l.leaving.Store(true)
	l.renewNow()
	select {
	case <-l.unkept: // a renewal under way would bring the lease back to life
	case <-ctx.Done():
	}
	return l.giveBack(ctx)
}

// renewNow has the lease renewed now: the connection was made, the registry has fallen
// silent, or what it says has changed.
func (l *lease) renewNow() { signal(l.renewal) }

// me is this node as a holder, if its lease is current.
func (l *lease) me() (Holder, held, error) {
	lease, ok := l.current(time.Now())
	if !ok {
		return Holder{}, held{}, fmt.Errorf("%w: this node has no lease in registry %s", ErrUnavailable, l.license)
	}
	return Holder{l.cfg.Node, lease.id}, lease, nil
}

// open tells Open that the first lease is there, or that there will be none.
func (l *lease) open(fault error) {
	l.mu.Lock()
	l.unusable = fault
	l.mu.Unlock()
	l.opening.Do(func() { close(l.opened) })
}

func (l *lease) fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unusable
}

func (l *lease) isOpen() bool {
	select {
	case <-l.opened:
		return true
	default:
		return false
	}
}

// lastError is what kept the lease from being taken, if anything did.
func (l *lease) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewError
}

func (l *lease) setRenewError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewError = err
}
