package kvpin

import (
	"context"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// peers is what a node knows about the leases of others. Those of its own region
// it watches; others it asks for, and believes for a second. Either may be behind:
// they can say that a lease is current, but that one is gone is read from the
// leader.
type peers struct {
	mu     sync.Mutex
	leases map[docid.NodeID]peer // of this region, from the watch
	asked  map[Holder]time.Time  // when a holder was last found alive by asking
	urls   map[docid.Region]string
	heard  time.Time // when the watch last brought a lease
}

type peer struct {
	leaseRecord
	seen time.Time
}

// askedLife is how long an answer about another region's lease is believed. It
// lengthens the time until a dead node's documents are free by as much.
const askedLife = time.Second

func (p *peers) setURL(r docid.Region, e kv.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Present {
		p.urls[r] = string(e.Value)
	} else {
		delete(p.urls, r)
	}
}

func (p *peers) url(r docid.Region) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url, ok := p.urls[r]
	return url, ok
}

// current reports whether the holder is known to be alive: a renewal was seen
// within the time that a lease can be valid, or the leader said so just now.
func (p *peers) current(h Holder, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if peer, ok := p.leases[h.Node]; ok && peer.covers(h.Lease) && time.Since(peer.seen) < ttl+time.Second {
		return true
	}
	at, ok := p.asked[h]
	return ok && time.Since(at) < askedLife
}

// renewed reports whether a renewal of just this lease was seen within the time that
// it can be valid.
func (p *peers) renewed(n docid.NodeID, id LeaseID, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer, ok := p.leases[n]
	return ok && !peer.Left && peer.Lease == id && time.Since(peer.seen) < ttl+time.Second
}

// found notes that the leader called the holder alive.
func (p *peers) found(h Holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) > 1000 {
		clear(p.asked)
	}
	p.asked[h] = time.Now()
}

// smallest reports whether no node of this region that has a lease has a smaller
// id.
func (p *peers) smallest(n docid.NodeID, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node, peer := range p.leases {
		if node < n && !peer.Left && time.Since(peer.seen) < ttl+time.Second {
			return false
		}
	}
	return true
}

// noticeLease takes a change of a lease of this region. One that ends without a
// farewell may leave orphans.
func (b *bucket) noticeLease(node docid.NodeID, e kv.Entry) {
	if node == b.cfg.Node && e.Present {
		b.clock.set(e.Written)
	}
	record, current, err := b.leaseOf(e)
	if err != nil {
		b.cfg.Log.Warn("ignoring a lease", "license", b.license, "error", err)
		return
	}
	if !current {
		record = leaseRecord{}
	}
	b.peers.mu.Lock()
	before, known := b.peers.leases[node]
	gap := time.Since(b.peers.heard) > b.cfg.LeaseTTL // its own renewals come more often
	b.peers.heard = time.Now()
	if current {
		b.peers.leases[node] = peer{record, time.Now()}
	} else {
		delete(b.peers.leases, node)
	}
	b.peers.mu.Unlock()
	switch {
	case known && !before.Left && !record.Left && !record.covers(before.Lease):
		b.sweepFor(leaseLost)
	case gap:
		b.sweepFor(unwatched)
	}
}

// alive reports whether a holder's lease is current. What is not known is read
// from the leader.
func (b *bucket) alive(ctx context.Context, h Holder) (bool, error) {
	region := h.Lease.region()
	if h.Node == b.cfg.Node && region == b.cfg.Region {
		return b.lease.covers(h.Lease, time.Now()), nil
	}
	if b.peers.current(h, b.cfg.LeaseTTL) {
		return true, nil
	}
	record, err := b.readLease(ctx, region, h.Node)
	if err != nil || !record.covers(h.Lease) {
		return false, err
	}
	b.peers.found(h)
	return true, nil
}

// readLease reads a node's lease from the leader. One that is gone, or that nobody
// can read, covers nothing.
func (b *bucket) readLease(ctx context.Context, r docid.Region, n docid.NodeID) (leaseRecord, error) {
	if r == "" {
		return leaseRecord{}, nil // not the id of a lease
	}
	e, err := b.get(ctx, leaseKey(r, n))
	if err != nil {
		return leaseRecord{}, err
	}
	record, current, err := b.leaseOf(e)
	if err != nil {
		b.cfg.Log.Warn("ignoring a lease", "license", b.license, "error", err)
	}
	if !current {
		return leaseRecord{}, nil
	}
	return record, nil
}
