package kvpin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// bucket is a node's side of one registry. It holds nothing itself: it puts together
// what does, and starts and ends it in order.
type bucket struct {
	cfg     *Config
	license docid.LicenseRegion
	store   kv.Store

	requests *requests
	clock    *bucketClock
	lease    *lease
	leases   *leases
	regions  *regions
	docs     *documents
	pins     *pins
	notices  *notices
	sweeper  *sweeper

	carrySecrets carrySecrets
}

func newBucket(cfg *Config, license docid.LicenseRegion, store kv.Store) *bucket {
	b := &bucket{cfg: cfg, license: license, store: store, clock: new(bucketClock)}
	b.requests = &requests{cfg: cfg, store: store, pace: newPace()}
	b.carrySecrets.requests = b.requests
	b.docs = newDocuments(cfg, &b.requests.fence)
	b.regions = newRegions(cfg, license, b.requests, b.clock)
	b.lease = newLease(cfg, license, b.requests, b.clock, b.docs, b.regions)
	b.requests.silence = b.lease.renewNow
	b.sweeper = &sweeper{cfg: cfg, license: license, wake: make(chan struct{}, 1), requests: b.requests, clock: b.clock, lease: b.lease}
	b.leases = newLeases(cfg, license, b.requests, b.clock, b.lease, b.sweeper.ask)
	b.pins = &pins{
		cfg: cfg, license: license, requests: b.requests, clock: b.clock, lease: b.lease, leases: b.leases, docs: b.docs, regions: b.regions,
		sweep: b.sweeper.ask,
	}
	b.sweeper.leases, b.sweeper.pins = b.leases, b.pins
	b.lease.owes = b.owes
	b.notices = newNotices(cfg, license, b.requests, b.leases, b.pins)
	return b
}

// run does the bucket's background work until ctx ends.
func (b *bucket) run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { b.lease.keep(ctx) })
	tasks.Go(func() { b.store.Watch(ctx, b.watched(), b.notice) })
	tasks.Go(func() { b.pins.run(ctx) })
	tasks.Go(func() { b.pins.renewPins(ctx) })
	tasks.Go(func() { b.notices.run(ctx) })
	tasks.Go(func() { b.sweeper.run(ctx) })
	tasks.Wait()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watched are the keys whose changes notice takes.
func (b *bucket) watched() []string {
	return []string{b.regionLeases() + ">", regionPrefix + ">", evacuatedPrefix + ">", noticePrefix + string(b.cfg.Node) + ".>"}
}

func (b *bucket) regionLeases() string { return leasePrefix + string(b.cfg.Region) + "." }

// notice takes what the watch reports.
func (b *bucket) notice(c kv.Change) {
	switch {
	case c.Synced:
		b.leases.sync()
	case strings.HasPrefix(c.Key, leasePrefix):
		b.leases.notice(docid.NodeID(strings.TrimPrefix(c.Key, b.regionLeases())), c.Entry)
	case strings.HasPrefix(c.Key, regionPrefix):
		b.regions.take(docid.Region(strings.TrimPrefix(c.Key, regionPrefix)), c.Entry)
	case strings.HasPrefix(c.Key, evacuatedPrefix):
		b.regions.takeEvacuated(docid.Region(strings.TrimPrefix(c.Key, evacuatedPrefix)), c.Present)
	case strings.HasPrefix(c.Key, noticePrefix):
		doc, err := docid.ParsePinKey(b.license, string(c.Value))
		if c.Present && err == nil {
			b.docs.lookAgain(doc)
		} else {
			b.notices.take(c.Entry)
		}
	}
}

// owes reports whether this node leaves pins behind for which others of the region are to
// look: owed ones, which nobody may know of but this node; those of which it has not taken
// itself out; those for which it was about to look itself; and what only its owner knows.
func (b *bucket) owes() bool {
	return b.pins.debts.any() || b.docs.any() || b.sweeper.unfinished() || b.cfg.Owes != nil && b.cfg.Owes(b.license)
}

// leaveInOrder works off what is owed as far as ctx allows and gives the lease back.
func (b *bucket) leaveInOrder(ctx context.Context) error {
	owed := b.pins.reconcileAll(ctx)
	err := b.lease.end(ctx)
	if owed > 0 {
		err = errors.Join(err, fmt.Errorf("registry %s: %d documents left unsettled", b.license, owed))
	}
	return err
}
