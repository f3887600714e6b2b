package room

import (
	"maps"
	"slices"
	"time"

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

	open span // what it published, and has not said to be durable

	// What it is asked.
	askedUpTo uint64 // the number up to which it is to say that this is; 0: it is not asked
	askedAt   int64  // by clock
	askDue    bool   // the question has yet to be sent

	// What it asks.
	question  uint64 // as it names it; 0: it waits for no answer
	needs     uint64 // the number up to which this room's own must be durable for the answer
	answerDue uint64 // the question whose answer has yet to be sent; 0: none
}

// peers are the rooms of the document on other pods that are heard. All that is known of a
// room, and all that is open between it and this one, is in its entry: when a room is
// forgotten, its question is forgotten with it, and so is what it was asked. askers is how
// many entries have a question. Guarded by Room.mu.
type peers struct {
	heard  map[oplog.ID]*peer
	askers int
	calls  calls
}

func (ps *peers) alone() bool { return len(ps.heard) == 0 }

// hear notes a sign of life of a room and returns it.
func (ps *peers) hear(id oplog.ID, now time.Time) (p *peer, isNew bool) {
	if ps.heard == nil {
		ps.heard = map[oplog.ID]*peer{}
	}
	p = ps.heard[id]
	if p == nil {
		p, isNew = new(peer), true
		ps.heard[id] = p
		ps.calls = calls{}
	}
	p.heard = now
	return p, isNew
}

// forget returns what the room published and has not said to be durable.
func (ps *peers) forget(id oplog.ID) (open span) {
	p := ps.heard[id]
	if p == nil {
		return span{}
	}
	if p.question != 0 {
		ps.askers--
	}
	delete(ps.heard, id)
	return p.open
}

// all returns the rooms that are heard.
func (ps *peers) all() []oplog.ID { return slices.Collect(maps.Keys(ps.heard)) }

// silent returns the rooms of which nothing was heard for too long.
func (ps *peers) silent(now time.Time, timeout time.Duration) (ids []oplog.ID) {
	for id, p := range ps.heard {
		if now.Sub(p.heard) > timeout {
			ids = append(ids, id)
		}
	}
	return ids
}

// overdue returns the rooms whose difference does not come.
func (ps *peers) overdue(now time.Time) (ids []oplog.ID) {
	for id, p := range ps.heard {
		if p.wanting && now.Sub(p.wantedAt) > wantTimeout {
			ids = append(ids, id)
		}
	}
	return ids
}

// first reports whether a room of this id is the first of all that share the document.
func (ps *peers) first(id oplog.ID) bool {
	for other := range ps.heard {
		if other < id {
			return false
		}
	}
	return true
}

// pods returns where the rooms take messages.
func (ps *peers) pods() []string {
	pods := make([]string, 0, len(ps.heard))
	for _, p := range ps.heard {
		pods = append(pods, p.pod)
	}
	return pods
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

// look has the room call for others for a while.
func (ps *peers) look(now time.Time, beaconEvery time.Duration) {
	first := beaconEvery / 5
	ps.calls = calls{next: now.Add(first), wait: 2 * first, ended: lookFor}
}

// lost has a room whose peers fell silent call for them.
func (ps *peers) lost(now time.Time, beaconEvery time.Duration) {
	ps.calls = calls{next: now, wait: beaconEvery}
}

// callDue reports whether the room, which hears nobody, is to say hello.
func (ps *peers) callDue(now time.Time) bool {
	c := &ps.calls
	if !ps.alone() || c.wait == 0 || now.Before(c.next) {
		return false
	}
	last := c.ended > 0 && c.wait > c.ended
	c.next, c.wait = now.Add(c.wait), min(2*c.wait, callMost)
	if last {
		c.wait = 0
	}
	return true
}
