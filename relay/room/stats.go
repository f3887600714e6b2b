package room

import (
	"sync/atomic"
	"time"
)

// Counters count what happened in all rooms since the start. They are read by
// the metrics.
type Counters struct {
	EditsIn, EditsOut       atomic.Int64 // updates from clients; messages to the history
	Gaps, Repairs           atomic.Int64 // missing messages noticed; differences taken from other pods
	Frozen                  atomic.Int64 // members that fell behind and were sent a difference
	Compactions             atomic.Int64
	Rereads                 atomic.Int64 // histories read because another pod did not answer
	Retries, Refused        atomic.Int64 // appends tried again; messages between pods that made no sense
	UnackedBytes, OpenRooms atomic.Int64 // gauges
	Dropped                 struct {     // awareness of clients; see awareness.Drops
		Large, Invalid, Many, Ahead, Foreign atomic.Int64
	}
	Stateless struct { // messages of clients: passed on; dropped, by why
		Passed, Off, Large, Invalid, ReadOnly atomic.Int64
	}
}

// Stats are the counters as they are at a moment, and what is found out by looking at all rooms.
// The maps have small, fixed sets of keys.
type Stats struct {
	Edits, Appends                int64
	Overflows                     int64
	Gaps, Repairs                 int64
	Rereads                       int64
	Compactions, Retries, Refused int64
	UnackedBytes                  int64
	Unsaved                       time.Duration    // the age of the oldest edit that the history has not acknowledged; 0: it has all
	AwarenessDropped              map[string]int64 // states of clients, by why
	Stateless                     map[string]int64 // messages, by what became of them
}

// Stats returns the figures of all rooms.
func (rs *Rooms) Stats() Stats {
	c := &rs.Counters
	return Stats{
		Edits: c.EditsIn.Load(), Appends: c.EditsOut.Load(), Overflows: c.Frozen.Load(), Gaps: c.Gaps.Load(), Repairs: c.Repairs.Load(),
		Rereads: c.Rereads.Load(), Compactions: c.Compactions.Load(), Retries: c.Retries.Load(), Refused: c.Refused.Load(),
		UnackedBytes: c.UnackedBytes.Load(), Unsaved: rs.Unsaved(),
		AwarenessDropped: map[string]int64{
			"too_large": c.Dropped.Large.Load(), "invalid": c.Dropped.Invalid.Load(), "too_many": c.Dropped.Many.Load(),
			"clock_ahead": c.Dropped.Ahead.Load(), "another_user": c.Dropped.Foreign.Load(),
		},
		Stateless: map[string]int64{
			"passed": c.Stateless.Passed.Load(), "off": c.Stateless.Off.Load(), "too_large": c.Stateless.Large.Load(),
			"invalid": c.Stateless.Invalid.Load(), "readonly": c.Stateless.ReadOnly.Load(),
		},
	}
}

// Unsaved is the age of the oldest edit that the history has not acknowledged; 0 if
// it has acknowledged all.
func (rs *Rooms) Unsaved() time.Duration {
	oldest := int64(0)
	for _, r := range rs.all() {
		r.mu.Lock()
		since := r.log.water.oldest()
		r.mu.Unlock()
		if since != 0 && (oldest == 0 || since < oldest) {
			oldest = since
		}
	}
	if oldest == 0 {
		return 0
	}
	return time.Duration(clock() - oldest)
}
