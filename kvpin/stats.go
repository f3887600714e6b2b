package kvpin

import (
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Stats are the counters and gauges of one registry on this node.
type Stats struct {
	Reads      uint64 // requests sent to the leader
	Writes     uint64 // writes sent
	LeasesLost uint64
	Takeovers  uint64 // attempted, of other regions' orphans
	Swept      uint64 // orphans of this region that were unpinned

	Held       int  // documents held
	Owed       int  // documents that wait to be reconciled with their pins
	Unsettled  int  // documents for which a write may still land, minutes after its end
	Validating int  // documents to go through after a lost lease
	Reachable  bool // the node's lease is current
}

// Stats returns the counters of one registry; the zero Stats if it is not served.
func (r *Registry) Stats(license docid.LicenseRegion) Stats {
	b := r.buckets[license]
	if b == nil {
		return Stats{}
	}
	s := Stats{
		Reads:      b.requests.reads.Load(),
		Writes:     b.requests.writes.Load(),
		LeasesLost: b.lease.lost.Load(),
		Takeovers:  b.pins.takeovers.Load(),
		Swept:      b.sweeper.swept.Load(),
	}
	_, s.Reachable = b.lease.current(time.Now())
	b.docs.mu.Lock()
	defer b.docs.mu.Unlock()
	for _, d := range b.docs.docs {
		if d.hold != nil {
			s.Held++
		}
	}
	s.Owed, s.Validating = b.docs.owedLocked(), len(b.docs.validating)
	s.Unsettled = len(b.docs.due) - s.Owed
	return s
}
