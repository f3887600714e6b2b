package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// A client forgets who was there when its connection ends, but not their clocks,
// and after a reconnect ignores states whose clocks are not newer: it would see
// nobody for up to 15 s, until each has moved or renewed its state. So, when a
// client returns, all that are present are sent their own tombstones, and raise
// their clocks.

// maxRecalled is the most clients of a document, on all pods, that are recalled:
// each of them answers to everybody, so the cost is its square.
const maxRecalled = 100

// welcome notes that a client came back. Callers hold mu.
func (r *Room) welcome() {
	r.returned = true
	r.scheduleLocked(true)
}

// recallDue reports whether it is time for a recall, which many clients that
// return together share. Callers hold mu.
func (r *Room) recallDue(now time.Time) bool {
	if !r.returned || now.Sub(r.recalledAt) < tickEvery {
		return false
	}
	r.returned, r.recalledAt = false, now
	return true
}

// recall sends the clients of this room their tombstones. Callers hold mu.
func (r *Room) recall() {
	if r.aware.Len() > maxRecalled {
		return
	}
	bySession := r.aware.TombstonesOf(uint64(r.id))
	for _, s := range r.seats {
		if tombstones := bySession[s.aware.Owner.Session]; len(tombstones) > 0 {
			s.sendAwareness(tombstones)
		}
	}
}

// recallAll is recall here and on the other pods.
func (r *Room) recallAll() {
	r.mu.Lock()
	r.recall()
	at, shared := r.at, len(r.peers) > 0
	r.mu.Unlock()
	if shared {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendTo(nil, oplog.Recall, r.id, at.tag))
	}
}
