package quota

import "sync/atomic"

// PlaceStats describe Places, for metrics.
type PlaceStats struct {
	Apps        int    // with sessions here, or reservations
	Limited     int    // of these, such as have limits
	Waiting     int    // sessions that wait to be admitted
	Writes      uint64 // to registries, so far
	Conflicts   uint64 // of these, such as came too late and were repeated
	Unavailable uint64 // sessions refused because nobody answered
}

type placeCounters struct {
	writes, conflicts, unavailable atomic.Uint64
}

// Stats counts over all apps: call it now and then.
func (p *Places) Stats() PlaceStats {
	s := PlaceStats{
		Writes:      p.stats.writes.Load(),
		Conflicts:   p.stats.conflicts.Load(),
		Unavailable: p.stats.unavailable.Load(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Apps = len(p.apps)
	for _, a := range p.apps {
		a.mu.Lock()
		if a.limited {
			s.Limited++
		}
		s.Waiting += len(a.waiting)
		a.mu.Unlock()
	}
	return s
}
