package kvpin

import (
	"context"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// leases is what a node knows about the leases of others. Those of its own region
// it watches; others it asks for, and remembers for a second. Either may be out of
// date: they are enough to tell that a lease is current, but whether one is gone is
// read from the leader.
type leases struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	clock    *bucketClock
	own      *lease
	sweep    func(occasion) // asks for a sweep

	mu      sync.Mutex
	watched map[docid.NodeID]seenLease // of this region, from the watch
	asked   map[Holder]time.Time       // when a holder was last found alive by asking
	heard   time.Time                  // when the watch last brought a lease

	syncing sync.Once
	synced  chan struct{} // closed when the watch has brought all leases of the region
}

type seenLease struct {
	leaseRecord
	seen time.Time
}

// askedLife is how long an answer about another region's lease is remembered. It
// lengthens the time until a dead node's documents are free by as much.
const askedLife = time.Second

func newLeases(cfg *Config, license docid.LicenseRegion, requests *requests, clock *bucketClock, own *lease, sweep func(occasion)) *leases {
	return &leases{
		cfg: cfg, license: license, requests: requests, clock: clock, own: own, sweep: sweep,
		watched: make(map[docid.NodeID]seenLease), asked: make(map[Holder]time.Time), synced: make(chan struct{}),
	}
}

// sync notes that the watch has brought all leases of the region.
func (p *leases) sync() { p.syncing.Do(func() { close(p.synced) }) }

// current reports whether the holder is known to be alive: a renewal was seen
// within the time that a lease can be valid, or the leader said so just now.
func (p *leases) current(h Holder, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.watched[h.Node]; ok && l.covers(h.Lease) && time.Since(l.seen) < ttl+time.Second {
		return true
	}
	at, ok := p.asked[h]
	return ok && time.Since(at) < askedLife
}

// renewed reports whether a renewal of just this lease was seen within the time that
// it can be valid.
func (p *leases) renewed(n docid.NodeID, id LeaseID, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.watched[n]
	return ok && !l.Left && l.Lease == id && time.Since(l.seen) < ttl+time.Second
}

// found notes that the leader called the holder alive.
func (p *leases) found(h Holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) > 1000 {
		clear(p.asked)
	}
	p.asked[h] = time.Now()
}

// smallest reports whether no node of this region that has a lease has a smaller
// id.
func (p *leases) smallest(n docid.NodeID, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node, l := range p.watched {
		if node < n && !l.Left && time.Since(l.seen) < ttl+time.Second {
			return false
		}
	}
	return true
}

// notice takes a change of a lease of this region. One that ends without a record that
// its holder has left may leave orphaned pins, and so may one whose record says so.
func (p *leases) notice(node docid.NodeID, e kv.Entry) {
	if node == p.cfg.Node && e.Present {
		p.clock.set(e.Written)
	}
	record, current, err := p.clock.leaseOf(e, p.cfg.LeaseTTL)
	if err != nil {
		p.cfg.Log.Warn("ignoring a lease", "license", p.license, "error", err)
		return
	}
	if !current {
		record = leaseRecord{}
	}
	p.mu.Lock()
	before, known := p.watched[node]
	gap := time.Since(p.heard) > p.cfg.LeaseTTL // its own renewals come more often
	p.heard = time.Now()
	if current {
		p.watched[node] = seenLease{record, time.Now()}
	} else {
		delete(p.watched, node)
	}
	p.mu.Unlock()
	switch {
	case record.Owes && !before.Owes && node != p.cfg.Node,
		known && !before.Left && !record.Left && !record.covers(before.Lease):
		p.sweep(leaseLost)
	case gap:
		p.sweep(unwatched)
	}
}

// alive reports whether a holder's lease is current. What is not known is read
// from the leader.
func (p *leases) alive(ctx context.Context, h Holder) (bool, error) {
	region := h.Lease.region()
	if h.Node == p.cfg.Node && region == p.cfg.Region {
		return p.own.covers(h.Lease, time.Now()), nil
	}
	if p.current(h, p.cfg.LeaseTTL) {
		return true, nil
	}
	record, err := p.readLease(ctx, region, h.Node)
	if err != nil || !record.covers(h.Lease) {
		return false, err
	}
	p.found(h)
	return true, nil
}

// readLease reads a node's lease from the leader. One that is gone, or that nobody
// can read, covers nothing.
func (p *leases) readLease(ctx context.Context, r docid.Region, n docid.NodeID) (leaseRecord, error) {
	if r == "" {
		return leaseRecord{}, nil // not the id of a lease
	}
	e, err := p.requests.get(ctx, leaseKey(r, n))
	if err != nil {
		return leaseRecord{}, err
	}
	record, current, err := p.clock.leaseOf(e, p.cfg.LeaseTTL)
	if err != nil {
		p.cfg.Log.Warn("ignoring a lease", "license", p.license, "error", err)
	}
	if !current {
		return leaseRecord{}, nil
	}
	return record, nil
}
