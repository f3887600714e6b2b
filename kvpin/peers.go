package kvpin

import (
	"context"
	"sync"
	"time"
)

// peers is what the watch says about the leases of all nodes and the URLs of the
// regions. It may be behind: it can say that a lease is current, but that one is
// gone is read from the leader.
type peers struct {
	mu     sync.Mutex
	leases map[NodeID]peer
	urls   map[Region]string
	synced bool
}

type peer struct {
	leaseRecord
	seen time.Time
}

func (p *peers) markSynced() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = true
}

func (p *peers) setURL(r Region, e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Present {
		p.urls[r] = string(e.Value)
	} else {
		delete(p.urls, r)
	}
}

// current reports whether a renewal of the lease was seen within the time that it
// can be valid.
func (p *peers) current(h Holder, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer, ok := p.leases[h.Node]
	return ok && peer.covers(h.Lease) && time.Since(peer.seen) < ttl+time.Second
}

// nodes returns the nodes of the region that have a lease, as far as is known.
func (p *peers) nodes(r Region, ttl time.Duration) []NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var nodes []NodeID
	for node, peer := range p.leases {
		if peer.Region == r && !peer.Left && time.Since(peer.seen) < ttl+time.Second {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// noticeLease takes a change of a lease. A lease of this region that ends without
// a farewell may leave orphans.
func (b *bucket) noticeLease(node NodeID, e entry) {
	var record leaseRecord
	if e.Present {
		var err error
		if record, err = decodeLease(e); err != nil {
			b.cfg.Log.Warn("ignoring a lease", "license", b.license, "error", err)
			return
		}
	}
	b.peers.mu.Lock()
	before, known := b.peers.leases[node]
	if e.Present {
		b.peers.leases[node] = peer{record, time.Now()}
	} else {
		delete(b.peers.leases, node)
	}
	b.peers.mu.Unlock()
	if known && before.Region == b.cfg.Region && !before.Left && !record.covers(before.Lease) && !record.Left {
		signal(b.sweeper)
	}
}

// alive reports whether a holder's lease is current. What the watch does not know
// is read from the leader.
func (b *bucket) alive(ctx context.Context, h Holder) (bool, error) {
	if h.Node == b.cfg.Node {
		return b.lease.covers(h.Lease, time.Now()), nil
	}
	if b.peers.current(h, b.cfg.LeaseTTL) {
		return true, nil
	}
	e, err := b.get(ctx, leasePrefix+string(h.Node))
	if err != nil || !e.Present {
		return false, err
	}
	record, err := decodeLease(e)
	if err != nil {
		return false, nil // nobody renews what nobody can read
	}
	return record.covers(h.Lease), nil
}
