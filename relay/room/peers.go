package room

import (
	"maps"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
)

// peer is the room of the same document on another pod. Guarded by Room.mu.
type peer struct {
	pod     string // where it takes messages; empty until it said so
	counter uint64 // of its last log message that was received or is covered by a difference
	heard   time.Time

	wanting  bool // a difference was asked for and has not come
	asked    int  // how often in a row
	again    bool // something went missing after it was asked for
	wantedAt time.Time

	// ahead is the state vector of its last beacon, if it knew more than this
	// room: what was only in flight then has arrived by the next one.
	ahead []byte

	open    span   // what it published, and has not said to be durable
	asking  uint64 // the number that it is being asked about; 0: it is not
	askedAt int64  // by clock
	askDue  bool   // the question has yet to be sent
	echo    uint64 // its own open question; 0: none
	need    uint64 // the number that its question is about, of this room's
	answer  uint64 // the question whose answer has yet to be sent; 0: none
}

// hear notes a sign of life of a room and returns it.
func (r *Room) hear(id ID) (p *peer, isNew bool) {
	if r.peers == nil {
		r.peers = map[ID]*peer{}
	}
	p = r.peers[id]
	if p == nil {
		p, isNew = new(peer), true
		r.peers[id] = p
		r.missed = missed{}
		// No longer alone: what was held back for a batch leaves now.
		if len(r.out.updates) > 0 {
			r.rooms.outbox.now(r)
		}
	}
	p.heard = time.Now()
	return p, isNew
}

// missed says that all other pods fell silent without a word. Two rooms that lost
// each other both have nobody to send beacons to: each calls for the other, ever
// more rarely, until somebody is heard.
type missed struct {
	next time.Time
	wait time.Duration // until the call after; 0: nobody is missed
}

const callMost = 5 * time.Minute

// callDue reports whether the room, which hears nobody, is to say hello.
func (r *Room) callDue(now time.Time) bool {
	m := &r.missed
	if len(r.peers) > 0 || m.wait == 0 || now.Before(m.next) {
		return false
	}
	m.next, m.wait = now.Add(m.wait), min(2*m.wait, callMost)
	return true
}

// dropPeer forgets a room on another pod. Its clients leave; the caller spreads
// their tombstones.
func (r *Room) dropPeer(id ID, now time.Time) []awareness.Entry {
	if p := r.peers[id]; p != nil {
		r.log.water.doubtful = r.log.water.doubtful.with(p.open)
		if p.echo != 0 {
			r.asked--
		}
	}
	delete(r.peers, id)
	for _, groups := range []map[groupKey]*group{r.groups, r.answers} {
		maps.DeleteFunc(groups, func(key groupKey, _ *group) bool { return key.room == id })
	}
	return r.aware.RemoveRoom(uint64(id), now)
}

func (r *Room) digest() digest {
	return digest{
		pod: r.rooms.cfg.Bus.PodSubject(), counter: r.log.counter,
		deletions: r.store.DeleteDigest(), stateVector: r.store.StateVector(),
	}
}

// hello makes the rooms of the document on other pods known to this one, and
// starts the exchange of what either lacks. It is published on the connection of
// the subscriptions, so that no message falls between the two.
func (r *Room) hello() { r.announce(kindHello) }

// sendBeacon lets the others notice that something went missing between them.
func (r *Room) sendBeacon(now time.Time) {
	r.mu.Lock()
	r.beaconAt = now
	r.mu.Unlock()
	r.announce(kindBeacon)
}

func (r *Room) announce(k kind) {
	r.mu.Lock()
	at, d := r.at, r.digest()
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(at.signals, appendDigest(appendTo(nil, k, r.id, at.tag), d))
}

// publishPresence tells the other pods of all clients of this room.
func (r *Room) publishPresence() {
	r.mu.Lock()
	at, entries := r.at, r.aware.EntriesOf(uint64(r.id))
	r.mu.Unlock()
	if len(entries) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, appendStates(nil, r.id, at.tag, entries))
	}
}
