package kvpin

import (
	"fmt"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// About is what a node says about itself in its lease, so that the nodes of its
// region can tell whether they belong together. It is the one place for that: an
// empty field says nothing, and readers ignore the fields of later versions.
type About struct {
	// Cluster names the NATS cluster that the node uses for its region.
	Cluster string `json:"cluster,omitempty"`
	// Protocol is the version of the messages between the nodes of a region.
	Protocol int `json:"protocol,omitempty"`
	// Store identifies where the node keeps documents between their lives.
	Store string `json:"store,omitempty"`
	// Can names what the node is able to do that an earlier version is not.
	Can []string `json:"can,omitempty"`
}

// Differs says why two nodes of one region do not belong together, "" if they do as
// far as they say.
func (a About) Differs(b About) string {
	differ := func(one, other string) bool { return one != "" && other != "" && one != other }
	switch {
	case differ(a.Cluster, b.Cluster):
		return fmt.Sprintf("one uses the NATS cluster %s, the other %s", a.Cluster, b.Cluster)
	case differ(a.Store, b.Store) && a.Store == NoStore:
		return fmt.Sprintf("one stores documents in %s, the other nowhere", b.Store)
	case differ(a.Store, b.Store) && b.Store == NoStore:
		return fmt.Sprintf("one stores documents in %s, the other nowhere", a.Store)
	case differ(a.Store, b.Store):
		return fmt.Sprintf("one stores documents in %s, the other in %s", a.Store, b.Store)
	case a.Protocol > 0 && b.Protocol > 0 && max(a.Protocol, b.Protocol)-min(a.Protocol, b.Protocol) > 1:
		return fmt.Sprintf("their messages have the versions %d and %d, which are more than one apart", a.Protocol, b.Protocol)
	}
	return ""
}

// storesMore reports whether a store is all that this node has before another one.
func (a About) storesMore(b About) bool {
	if b.Store != NoStore {
		return false
	}
	b.Store = a.Store
	return a.Differs(b) == ""
}

// about is what the node says about itself in this registry.
func about(cfg *Config, license docid.LicenseRegion) (a About) {
	if cfg.About != nil {
		a = cfg.About()
	}
	if cfg.Store != nil {
		a.Store = cfg.Store(license)
	}
	return a
}

// Stranger is a node of this node's region that does not belong together with it.
type Stranger struct {
	Node    docid.NodeID
	Why     string
	Earlier bool // it was there before this node
}

// Strangers returns the nodes with a current lease in this node's region that do not
// belong together with it, sorted. Of two groups the one that came later is wrong, so
// that one node that is set up wrongly takes out itself and not a region.
func (r *Registry) Strangers() []Stranger {
	if r.cfg.About == nil {
		return nil
	}
	found := make(map[docid.NodeID]Stranger)
	for _, b := range r.buckets {
		mine := about(b.cfg, b.license)
		b.lease.mu.Lock()
		started := b.lease.started
		b.lease.mu.Unlock()
		b.leases.each(b.cfg.LeaseTTL, func(node docid.NodeID, l leaseRecord) {
			why := mine.Differs(l.About)
			if why == "" || node == b.cfg.Node || found[node].Earlier {
				return
			}
			earlier := l.Started.Before(started) || l.Started.Equal(started) && node < b.cfg.Node
			// A region that is given a store gets it node by node.
			found[node] = Stranger{node, why, earlier && !mine.storesMore(l.About)}
		})
	}
	strangers := make([]Stranger, 0, len(found))
	for _, s := range found {
		strangers = append(strangers, s)
	}
	slices.SortFunc(strangers, func(a, b Stranger) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return strangers
}

// each calls f for every lease of this region that is known to be current and was
// not given back.
func (p *leases) each(ttl time.Duration, f func(docid.NodeID, leaseRecord)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node, l := range p.watched {
		if !l.Left && time.Since(l.seen) < ttl+time.Second {
			f(node, l.leaseRecord)
		}
	}
}
