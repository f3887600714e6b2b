package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/oplog"
)

// peer is the room of the same document on another pod. Guarded by Room.mu.
type peer struct {
	pod     string // where it takes messages; empty until it said so
	counter uint64 // of its last log message that was received or is covered by a difference
	heard   time.Time
	greeted bool // it was told who is here

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
func (r *Room) hear(id oplog.ID) (p *peer, isNew bool) {
	if r.peers == nil {
		r.peers = map[oplog.ID]*peer{}
	}
	p = r.peers[id]
	if p == nil {
		p, isNew = new(peer), true
		r.peers[id] = p
		r.calls = calls{}
		// No longer alone: what was held back for a batch leaves now.
		if len(r.out.updates) > 0 {
			r.rooms.outbox.now(r)
		}
	}
	p.heard = time.Now()
	return p, isNew
}

// calls is when a room that hears nobody says hello again. Two rooms without peers
// have nobody to send beacons to, so they would never find each other: after an
// opening, when the way between two NATS servers may have been broken for its hello,
// a room calls for some minutes; when all its peers fell silent without a word, it
// calls, ever more rarely, until somebody is heard.
type calls struct {
	next  time.Time
	wait  time.Duration // until the call after; 0: no calls
	ended time.Duration // a wait as long as this is the last; 0: none is
}

const (
	callMost = 5 * time.Minute
	// lookFor is the last wait of a room that only looks whether it is alone. With its
	// first a fifth of the time between beacons, it calls eight times in four minutes.
	lookFor = 2 * time.Minute
)

// look has the room call for others for a while. Callers hold mu.
func (r *Room) look(now time.Time) {
	first := r.rooms.cfg.BeaconEvery / 5
	r.calls = calls{next: now.Add(first), wait: 2 * first, ended: lookFor}
}

// callDue reports whether the room, which hears nobody, is to say hello.
func (r *Room) callDue(now time.Time) bool {
	c := &r.calls
	if len(r.peers) > 0 || c.wait == 0 || now.Before(c.next) {
		return false
	}
	last := c.ended > 0 && c.wait > c.ended
	c.next, c.wait = now.Add(c.wait), min(2*c.wait, callMost)
	if last {
		c.wait = 0
	}
	return true
}

// Look has the room look for the rooms of the document on other pods.
func (r *Room) Look() {
	r.mu.Lock()
	r.look(time.Now())
	r.mu.Unlock()
	r.hello()
}

// Pods returns where the rooms of the document that are heard take messages.
func (r *Room) Pods() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	pods := make([]string, 0, len(r.peers))
	for _, p := range r.peers {
		pods = append(pods, p.pod)
	}
	return pods
}

// dropPeer forgets a room on another pod. Its clients leave; the caller spreads
// their tombstones.
func (r *Room) dropPeer(id oplog.ID, now time.Time) []awareness.Entry {
	if p := r.peers[id]; p != nil {
		r.log.water.unconfirmed = r.log.water.unconfirmed.with(p.open)
		if p.echo != 0 {
			r.asked--
		}
	}
	delete(r.peers, id)
	r.groups.Forget(id)
	r.answers.Forget(id)
	return r.aware.RemoveRoom(uint64(id), now)
}

func (r *Room) digest() oplog.Digest {
	return oplog.Digest{
		Pod: r.rooms.cfg.Bus.PodSubject(), Counter: r.log.counter,
		Deletions: r.content.store.DeleteDigest(), Pending: r.content.store.PendingDigest(), StateVector: r.content.store.StateVector(),
	}
}

// hello makes the rooms of the document on other pods known to this one, and
// starts the exchange of what either lacks. It is published on the connection of
// the subscriptions, so that no message falls between the two.
func (r *Room) hello() {
	r.mu.Lock()
	r.helloAt = time.Now()
	r.mu.Unlock()
	r.announce(oplog.Hello)
}

// meet makes a room known that was heard before it has said where it takes messages.
// A hello that is under way does it already; should it be lost, the next beacon does.
func (r *Room) meet() {
	r.mu.Lock()
	underWay := time.Since(r.helloAt) < helloLife
	r.mu.Unlock()
	if !underWay {
		r.hello()
	}
}

// helloLife bounds the hellos of a room that hears many others at once, each of which
// all of them answer.
const helloLife = time.Second

// sendBeacon lets the others notice that something went missing between them.
func (r *Room) sendBeacon(now time.Time) {
	r.mu.Lock()
	r.beaconAt = now
	r.mu.Unlock()
	r.announce(oplog.Beacon)
}

func (r *Room) announce(k oplog.Kind) {
	r.mu.Lock()
	at, d := r.at, r.digest()
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendDigest(oplog.AppendTo(nil, k, r.id, at.tag), d))
}

// publishPresence tells the other pods of all clients of this room.
func (r *Room) publishPresence() {
	r.mu.Lock()
	at, entries := r.at, r.aware.EntriesOf(uint64(r.id))
	r.mu.Unlock()
	if len(entries) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendStates(nil, r.id, at.tag, entries))
	}
}
