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

// maxReannounced is the most clients of a document, on all pods, that are had announced
// again: each of them answers to everybody, so the cost is its square.
const maxReannounced = 100

// welcome notes that a client came back. Callers hold mu.
func (r *Room) welcome() {
	r.returned = true
	r.scheduleLocked(true)
}

// reannounceDue reports whether it is time to have those present announce themselves
// again, once for many clients that return together. Callers hold mu.
func (r *Room) reannounceDue(now time.Time) bool {
	if !r.returned || now.Sub(r.reannouncedAt) < tickEvery {
		return false
	}
	r.returned, r.reannouncedAt = false, now
	return true
}

// reannounce sends the clients of this room their tombstones. Callers hold mu.
func (r *Room) reannounce() {
	if r.aware.Len() > maxReannounced {
		return
	}
	bySession := r.aware.TombstonesOf(uint64(r.id))
	for _, s := range r.seats {
		if tombstones := bySession[s.aware.Owner.Session]; len(tombstones) > 0 {
			s.sendAwareness(tombstones)
		}
	}
}

// reannounceAll is reannounce here and on the other pods.
func (r *Room) reannounceAll() {
	r.mu.Lock()
	r.reannounce()
	at, shared := r.at, !r.peers.alone()
	r.mu.Unlock()
	if shared {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendTo(nil, oplog.Reannounce, r.id, at.tag))
	}
}
