package kvpin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// bucket is a node's side of one registry: its lease, what it knows of others'
// leases, the documents that it holds and what it owes.
type bucket struct {
	cfg      *Config
	license  docid.LicenseRegion
	store    kv.Store
	ensure   func(context.Context) (created bool, err error) // nil: nothing to ensure
	rooms    atomic.Pointer[Rooms]
	draining atomic.Bool
	leaving  atomic.Bool
	highest  atomic.Uint64 // revision seen, see sawHighest
	unkept   chan struct{} // closed when nobody renews the lease any more
	opened   chan struct{} // closed with the first lease, or with a fault
	opening  sync.Once

	living []docid.Document // owned by sweepOrphans: orphans that live on without the registry
	urlDue time.Time        // owned by the lease keeper: when publishURL tries again

	lease   ownLease
	peers   peers
	clock   bucketClock
	fence   fence
	answers answers
	hints   hints
	stats   counters
	survey  survey
	pace    *pace

	renewal chan struct{} // asks for a renewal now
	sweeper chan struct{} // asks for a sweep
	kick    chan struct{} // wakes the debts

	mu         sync.Mutex
	occasion   occasion                     // of the next sweep
	renewError error                        // of the last attempt at the lease
	unusable   error                        // why the bucket cannot be used
	docs       map[docid.Document]*document // held, owed, or in an operation
	due        map[*document]struct{}       // have a debt
	validating map[*document]struct{}       // not yet gone through after a lost lease
}

func newBucket(cfg *Config, license docid.LicenseRegion, s kv.Store) *bucket {
	return &bucket{
		cfg: cfg, license: license, store: s,
		pace:       newPace(),
		unkept:     make(chan struct{}),
		opened:     make(chan struct{}),
		survey:     survey{turn: make(chan struct{}, 1)},
		peers:      peers{leases: make(map[docid.NodeID]peer), asked: make(map[Holder]time.Time), urls: make(map[docid.Region]string)},
		renewal:    make(chan struct{}, 1),
		sweeper:    make(chan struct{}, 1),
		kick:       make(chan struct{}, 1),
		docs:       make(map[docid.Document]*document),
		due:        make(map[*document]struct{}),
		validating: make(map[*document]struct{}),
	}
}

// run does the bucket's background work until ctx ends.
func (b *bucket) run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { defer close(b.unkept); b.keepLease(ctx) })
	tasks.Go(func() {
		b.store.Watch(ctx, []string{b.regionLeases() + ">", regionPrefix + ">", noticePrefix + string(b.cfg.Node) + ".>"}, b.notice)
	})
	tasks.Go(func() { b.workDebts(ctx) })
	tasks.Go(func() { b.sweepOrphans(ctx) })
	tasks.Go(func() { b.renewPins(ctx) })
	tasks.Wait()
}

// open tells Open that the first lease is there, or that there will be none.
func (b *bucket) open(fault error) {
	b.mu.Lock()
	b.unusable = fault
	b.mu.Unlock()
	b.opening.Do(func() { close(b.opened) })
}

func (b *bucket) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unusable
}

func (b *bucket) isOpen() bool {
	select {
	case <-b.opened:
		return true
	default:
		return false
	}
}

// lastError is what kept the lease from being taken, if anything did.
func (b *bucket) lastError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.renewError
}

func (b *bucket) setRenewError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewError = err
}

// reachable is called when the connection is made, first or again.
func (b *bucket) reachable() { b.renewNow() }

func (b *bucket) renewNow() { signal(b.renewal) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// get reads a key from the leader, unless the registry is silent.
func (b *bucket) get(ctx context.Context, key string) (kv.Entry, error) {
	if err := b.answers.silent(); err != nil {
		return kv.Entry{}, fmt.Errorf("read %s: %w", key, err)
	}
	return b.read(ctx, key)
}

// put writes a key, unless the registry is silent.
func (b *bucket) put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	if err := b.answers.silent(); err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	return b.write(ctx, key, value, expect, ttl)
}

// read reads a key from the leader within the configured timeout.
func (b *bucket) read(ctx context.Context, key string) (kv.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	start := time.Now()
	e, err := b.store.Get(ctx, key)
	b.stats.reads.Add(1)
	b.answered("read", start, err)
	if err != nil {
		return e, fmt.Errorf("read %s: %w", key, err)
	}
	return e, nil
}

// leastWrite is the least time that a write must have for its answer.
const leastWrite = 50 * time.Millisecond

// write writes a key. A context that is canceled meanwhile does not interrupt it,
// since that would only leave an unknown outcome; its deadline holds.
func (b *bucket) write(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	timeout := b.cfg.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if ctx.Err() != nil || timeout < leastWrite {
		return 0, fmt.Errorf("write %s: %w: no time left", key, ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	start, passage := time.Now(), b.fence.enter(b.store.Incarnation())
	revision, err := b.store.Put(ctx, key, value, expect, ttl)
	b.stats.writes.Add(1)
	b.answered("write", start, err)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	b.fence.passed(passage, b.store.Incarnation())
	b.sawHighest(revision)
	return revision, nil
}

// answered keeps the books about a request. The first that gets no answer has the
// lease keeper ask again at once, whose success ends the silence.
func (b *bucket) answered(op string, start time.Time, err error) {
	b.observe(op, start, err)
	if errors.Is(err, context.DeadlineExceeded) && time.Since(start) < b.cfg.Timeout*3/4 {
		return // its caller had little time
	}
	b.pace.answered(start, err)
	if b.answers.heard(start, err) {
		b.renewNow()
	}
}

// sawHighest keeps the highest revision that this node's writes were given.
// Revisions of a bucket only grow, so one that is lower than an earlier one comes
// from a bucket that was deleted, or restored from a copy.
func (b *bucket) sawHighest(revision uint64) {
	for {
		highest := b.highest.Load()
		if revision <= highest || b.highest.CompareAndSwap(highest, revision) {
			return
		}
	}
}

func (b *bucket) observe(op string, start time.Time, err error) {
	b.cfg.Observe(op, time.Since(start), err)
}

func (b *bucket) regionLeases() string { return leasePrefix + string(b.cfg.Region) + "." }

// notice takes what the watch reports.
func (b *bucket) notice(c kv.Change) {
	switch {
	case strings.HasPrefix(c.Key, leasePrefix):
		b.noticeLease(docid.NodeID(strings.TrimPrefix(c.Key, b.regionLeases())), c.Entry)
	case strings.HasPrefix(c.Key, regionPrefix):
		b.takeURL(docid.Region(strings.TrimPrefix(c.Key, regionPrefix)), c.Entry)
	case strings.HasPrefix(c.Key, noticePrefix) && c.Present:
		if doc, err := docid.ParsePinKey(b.license, string(c.Value)); err == nil {
			b.lookAgain(doc)
		}
	}
}

// leaveInOrder works off the debts as far as ctx allows and gives the lease back.
func (b *bucket) leaveInOrder(ctx context.Context) error {
	owed := b.settleAll(ctx)
	b.leaving.Store(true)
	b.renewNow()
	select {
	case <-b.unkept: // a renewal under way would bring the lease back to life
	case <-ctx.Done():
	}
	err := b.giveLeaseBack(ctx)
	if owed > 0 {
		err = errors.Join(err, fmt.Errorf("registry %s: %d documents left unsettled", b.license, owed))
	}
	return err
}
