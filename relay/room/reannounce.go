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

// welcome notes that a client came back.
func (p *presence) welcome() {
	p.returned = true
	p.room.out.schedule(true)
}

// reannounceDue reports whether it is time to have those present announce themselves
// again, once for many clients that return together.
func (p *presence) reannounceDue(now time.Time) bool {
	if !p.returned || now.Sub(p.reannouncedAt) < tickEvery {
		return false
	}
	p.returned, p.reannouncedAt = false, now
	return true
}

// reannounce sends the clients of this room their tombstones.
func (p *presence) reannounce() {
	if p.set.Len() > maxReannounced {
		return
	}
	bySession := p.set.TombstonesOf(uint64(p.room.id))
	for _, s := range p.room.members.seats {
		if tombstones := bySession[s.aware.Owner.Session]; len(tombstones) > 0 {
			s.sendAwareness(tombstones)
		}
	}
}

// reannounceAll is reannounce here and on the other pods.
func (p *presence) reannounceAll() {
	r := p.room
	r.mu.Lock()
	p.reannounce()
	at, shared := r.at.subjects, !r.peers.alone()
	r.mu.Unlock()
	if shared {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendTo(nil, oplog.Reannounce, r.id, at.tag))
	}
}
