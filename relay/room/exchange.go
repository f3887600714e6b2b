package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// exchange is what the room and those of the document on other pods send each other.
// Whatever it finds out that this room lacks, by a gap in their counters or a digest, is
// asked for until it has come, one question at a time for each of them; parts are kept only
// of messages of rooms that are heard. Its fields are guarded by Room.mu, which its methods
// take where their comments do not say that callers hold it: they publish without it.
type exchange struct {
	room        *Room
	groups      oplog.Groups // parts of log messages
	differences oplog.Groups // parts of differences
	helloAt     time.Time
	beaconAt    time.Time
}

// hear notes a sign of life of a room and returns it. Callers hold mu.
func (e *exchange) hear(id oplog.ID) (p *peer, isNew bool) {
	p, isNew = e.room.peers.hear(id, time.Now())
	if isNew {
		e.room.out.shared()
	}
	return p, isNew
}

// forget drops rooms on other pods. Their clients leave. Callers hold mu.
func (e *exchange) forget(now time.Time, ids ...oplog.ID) {
	r := e.room
	for _, id := range ids {
		r.log.water.unconfirm(r.peers.forget(id))
		e.groups.Forget(id)
		e.differences.Forget(id)
	}
	r.presence.forget(now, ids...)
}

// dues is what the clock has found to be due of an exchange.
type dues struct {
	beacon, call bool
	wants        []oplog.ID
}

// tick does what the clock asks for under the lock. Callers hold mu, and call send behind
// it without.
func (e *exchange) tick(now time.Time) (d dues) {
	r, cfg := e.room, &e.room.rooms.cfg
	if silent := r.peers.silent(now, cfg.PeerTimeout); len(silent) > 0 {
		e.forget(now, silent...)
		r.peers.lost(now, cfg.BeaconEvery)
	}
	d.call = r.peers.callDue(now)
	if r.peers.alone() {
		e.groups.Clear()
		e.differences.Clear()
		return d
	}
	d.beacon = now.Sub(e.beaconAt) >= cfg.BeaconEvery
	d.wants = r.peers.overdue(now)
	return d
}

func (e *exchange) send(now time.Time, d dues) {
	if d.beacon {
		e.sendBeacon(now)
	}
	if d.call {
		e.hello()
	}
	for _, id := range d.wants {
		e.want(id)
	}
}

func (e *exchange) digest() oplog.Digest {
	r := e.room
	return oplog.Digest{
		Pod: r.rooms.cfg.Bus.PodSubject(), Counter: r.log.counter,
		Deletions: r.content.store.DeleteDigest(), Pending: r.content.store.PendingDigest(), StateVector: r.content.store.StateVector(),
	}
}

// hello makes the rooms of the document on other pods known to this one, and
// starts the exchange of what either lacks. It is published on the connection of
// the subscriptions, so that no message falls between the two.
func (e *exchange) hello() {
	e.room.mu.Lock()
	e.helloAt = time.Now()
	e.room.mu.Unlock()
	e.announce(oplog.Hello)
}

// meet makes a room known that was heard before it has said where it takes messages.
// A hello that is under way does it already; should it be lost, the next beacon does.
func (e *exchange) meet() {
	e.room.mu.Lock()
	underWay := time.Since(e.helloAt) < helloLife
	e.room.mu.Unlock()
	if !underWay {
		e.hello()
	}
}

// helloLife bounds the hellos of a room that hears many others at once, each of which
// all of them answer.
const helloLife = time.Second

// sendBeacon lets the others notice that something went missing between them.
func (e *exchange) sendBeacon(now time.Time) {
	e.room.mu.Lock()
	e.beaconAt = now
	e.room.mu.Unlock()
	e.announce(oplog.Beacon)
}

func (e *exchange) announce(k oplog.Kind) {
	r := e.room
	r.mu.Lock()
	at, d := r.at.subjects, e.digest()
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendDigest(oplog.AppendTo(nil, k, r.id, at.tag), d))
}

// publishPresence tells the other pods of all clients of this room.
func (e *exchange) publishPresence() {
	r := e.room
	r.mu.Lock()
	at, entries := r.at.subjects, r.presence.set.EntriesOf(uint64(r.id))
	r.mu.Unlock()
	if len(entries) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendStates(nil, r.id, at.tag, entries))
	}
}
