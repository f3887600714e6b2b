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
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// ownLease is this node's lease in one registry.
type ownLease struct {
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
	broken  []LeaseID
	started time.Time // of the first attempt
	had     bool      // there was a lease before
}

// held is a snapshot of a lease that is current.
type held struct {
	id    LeaseID
	until time.Time
	since time.Time
}

// current returns the lease if it has not run out.
func (l *ownLease) current(now time.Time) (held, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return held{l.id, l.until, l.since}, l.id != "" && now.Before(l.until)
}

// covers reports whether a holder entry of this node counts as alive.
func (l *ownLease) covers(id LeaseID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id != "" && now.Before(l.until) && (l.id == id || slices.Contains(l.settling, id))
}

// ranOut reports whether a lost lease was followed by a time in which this node had
// none.
func (l *ownLease) ranOut(id LeaseID) bool {
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

func (b *bucket) leaseKey() string { return leaseKey(b.cfg.Region, b.cfg.Node) }

// keepLease takes the lease, renews it, and takes another one when it is lost.
func (b *bucket) keepLease(ctx context.Context) {
	b.lease.mu.Lock()
	b.lease.started = time.Now()
	b.lease.mu.Unlock()
	ensured := b.ensure == nil
	var missing time.Time // since when no bucket answers
	for ctx.Err() == nil && !b.leaving.Load() {
		if !ensured || !missing.IsZero() && b.ensure != nil && time.Since(missing) > recreateAfter {
			if err := b.ensureBucket(ctx); err != nil {
				b.setRenewError(err)
				b.wait(ctx, time.Second)
				continue
			}
			ensured, missing = true, time.Time{}
		}
		start := time.Now()
		err := b.renew(ctx)
		b.observe("renew", start, err)
		b.setRenewError(err)
		if err == nil && !b.urlDue.IsZero() && time.Now().After(b.urlDue) {
			b.publishURL(ctx)
		}
		if !errors.Is(err, kv.ErrNoBucket) {
			missing = time.Time{}
		} else if missing.IsZero() {
			missing = start
		}
		if err == nil {
			b.wait(ctx, jitter(b.cfg.RenewEvery))
		} else {
			b.wait(ctx, jitter(b.cfg.RenewEvery/10))
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
func (b *bucket) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.renewal:
	case <-ctx.Done():
	}
}

// ensureBucket checks or creates the bucket. What is wrong with it is kept for
// Open, or logged later.
func (b *bucket) ensureBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	created, err := b.ensure(ctx)
	var unusable *BucketError
	switch {
	case created:
		b.cfg.Log.Info("created registry bucket", "bucket", bucketName(b.license))
	case errors.As(err, &unusable):
		if b.isOpen() && b.fault() == nil {
			b.cfg.Log.Error("registry cannot be used", "license", b.license, "error", err)
		}
		b.open(fmt.Errorf("license region %s: %w", b.license, err))
	}
	return err
}

// renew renews the lease or takes a new one. The time of a lease is counted from
// before its request, so that it ends here before it ends at the server.
func (b *bucket) renew(ctx context.Context) error {
	l := &b.lease
	if _, ok := l.current(time.Now()); !ok {
		b.loseLease("it ran out")
		return b.acquire(ctx)
	}
	l.mu.Lock()
	id, revision := l.id, l.revision
	l.mu.Unlock()
	if b.validated() {
		l.mu.Lock()
		l.settling, l.broken = nil, nil
		l.mu.Unlock()
	}
	for range 2 {
		start, highest := time.Now(), b.highest.Load()
		next, err := b.write(ctx, b.leaseKey(), b.leaseRecord(id).encode(), revision, b.cfg.LeaseTTL)
		if err == nil && next < highest {
			b.highest.Store(next)
			b.loseLease("the registry was restored from an old copy")
			return b.acquire(ctx)
		}
		if err == nil {
			l.mu.Lock()
			l.until, l.revision = start.Add(b.cfg.LeaseTTL), next
			l.mu.Unlock()
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		e, err := b.read(ctx, b.leaseKey())
		if err != nil {
			return err
		}
		if record, err := decodeLease(e); !e.Present || err != nil || record.Lease != id {
			b.highest.Store(0) // perhaps the bucket is another one
			b.loseLease("its key was removed or replaced")
			return b.acquire(ctx)
		}
		revision = e.Revision // a renewal whose answer was lost
	}
	return fmt.Errorf("renew lease: %w", ErrConflict)
}

// loseLease forgets the lease for good.
func (b *bucket) loseLease(why string) {
	l := &b.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == "" {
		return
	}
	b.cfg.Log.Warn("lost the lease", "license", b.license, "lease", l.id, "why", why)
	b.stats.leasesLost.Add(1)
	l.settling = append(l.settling, l.id)
	l.id, l.revision = "", 0
}

// acquire takes a lease with a new id and has every pin gone through.
func (b *bucket) acquire(ctx context.Context) error {
	l := &b.lease
	e, err := b.read(ctx, b.leaseKey())
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.candidate == "" {
		l.candidate = newLeaseID(b.cfg.Region)
	}
	id, had, settling := l.candidate, l.had, slices.Clone(l.settling)
	l.mu.Unlock()
	if record, current, err := b.leaseOf(e); had && (current || err != nil) {
		if ours := err == nil && (record.Lease == id || slices.Contains(settling, record.Lease)); !ours {
			// The newest process wins; the older one waits until the key is gone
			// instead of taking turns with it.
			return fmt.Errorf("%w: another process runs as node %s", ErrUnavailable, b.cfg.Node)
		}
	}
	start := time.Now()
	revision, err := b.write(ctx, b.leaseKey(), b.leaseRecord(id).encode(), e.Revision, b.cfg.LeaseTTL)
	if err != nil {
		return err
	}
	b.publishURL(ctx)
	if had || b.lastError() != nil {
		b.cfg.Log.Info("the registry answers, took a new lease", "license", b.license, "lease", id)
	}
	l.mu.Lock()
	if over(l.until, start) {
		l.broken = slices.Clone(l.settling)
	}
	l.id, l.candidate, l.revision, l.had = id, "", revision, true
	l.until, l.since = start.Add(b.cfg.LeaseTTL), time.Now()
	l.mu.Unlock()
	b.validateAll()
	b.open(nil)
	return nil
}

func (b *bucket) leaseRecord(id LeaseID) leaseRecord {
	l := &b.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	r := leaseRecord{Region: b.cfg.Region, Lease: id, Settling: l.settling, Draining: b.draining.Load(), Started: l.started, TTL: int64(b.cfg.LeaseTTL / time.Second), Clock: time.Now().UTC()}
	if b.cfg.Load != nil {
		r.Load = b.cfg.Load()
	}
	r.About = b.about()
	return r
}

// giveLeaseBack ends the lease with a word of farewell instead of a bare deletion,
// so that nobody looks for orphans.
func (b *bucket) giveLeaseBack(ctx context.Context) error {
	l := &b.lease
	l.mu.Lock()
	id, revision := l.id, l.revision
	l.id = ""
	l.mu.Unlock()
	if id == "" {
		return nil
	}
	record := b.leaseRecord(id)
	record.Left = true
	_, err := b.write(ctx, b.leaseKey(), record.encode(), revision, time.Second)
	if errors.Is(err, ErrConflict) { // a renewal whose answer was lost
		var e kv.Entry
		if e, err = b.read(ctx, b.leaseKey()); err == nil && e.Present {
			_, err = b.write(ctx, b.leaseKey(), record.encode(), e.Revision, time.Second)
		}
	}
	if err != nil {
		return fmt.Errorf("give lease back in registry %s: %w", b.license, err)
	}
	return nil
}
