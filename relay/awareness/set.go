package awareness

import (
	"bytes"
	"slices"
	"time"
)

// TombstoneFor is how long a client that left is remembered. y-websocket
// reconnects with an unchanged clock, which the other clients ignore for up to 15 s;
// sent its own tombstone, it raises its clock and is visible at once.
const TombstoneFor = 30 * time.Second

// maxTombstones bounds the clients that are remembered after they left. Beyond it the
// one that left first is forgotten early: who comes and goes many times a second must
// not fill the memory, and a document that so many people leave within TombstoneFor has
// few who come back.
const maxTombstones = 4096

// Owner names who introduced a client: a session of a room. When either ends,
// its clients leave.
type Owner struct {
	Room    uint64 // the room, on whichever pod
	Session uint64 // the session in that room; 0 for all sessions of another pod's room
}

// Set is the awareness of one document on one node. It is not safe for
// concurrent use; the room guards it. The zero Set is empty and ready.
type Set struct {
	// Most bounds the clients that sessions may introduce; 0: any number.
	Most int
	// Drops counts what was dropped of sessions' updates; whoever reads it sets it back.
	Drops   Drops
	clients map[uint64]*client
	gone    []tombstone // in the order in which they expire
	opened  time.Time   // when the first session was heard
	bytes   int         // of the states
	renewAt time.Time   // nothing is to be renewed before
}

type client struct {
	clock uint64
	state []byte // nil: a tombstone
	owner Owner
	user  uint64    // whose session that was; see Session.User
	self  bool      // the owner speaks for it, and does not just carry it
	heard time.Time // when the clock was raised last

	// The clock that the owner knows of; less than clock if Renew has raised it.
	said uint64
}

type tombstone struct {
	client, clock uint64
	until         time.Time
}

// RemoveSession removes the clients that the session owns and returns their
// tombstones, which go to everyone.
func (s *Set) RemoveSession(owner Owner, now time.Time) []Entry {
	return s.remove(now, func(o Owner) bool { return o == owner })
}

// RemoveRoom removes the clients that a room on another pod owns.
func (s *Set) RemoveRoom(room uint64, now time.Time) []Entry {
	return s.remove(now, func(o Owner) bool { return o.Room == room })
}

func (s *Set) remove(now time.Time, owned func(Owner) bool) (removed []Entry) {
	s.expire(now)
	for id, c := range s.clients {
		if c.state == nil || !owned(c.owner) {
			continue
		}
		e := Entry{Client: id, Clock: c.clock, User: c.user}
		s.set(e, c.owner, now)
		removed = append(removed, e)
	}
	return removed
}

// States returns the states of all clients that are present.
func (s *Set) States() (present []Entry) {
	for id, c := range s.clients {
		if c.state != nil {
			present = append(present, s.entry(id))
		}
	}
	return present
}

// EntriesOf returns the states of the clients that a room owns, and tombstones of
// those that have left it within TombstoneFor.
func (s *Set) EntriesOf(room uint64) (entries []Entry) {
	for id, c := range s.clients {
		if c.owner.Room == room {
			entries = append(entries, s.entry(id))
		}
	}
	return entries
}

// TombstonesOf returns tombstones, at their present clocks, of the clients that a
// room owns, by session. Sent to its session, a tombstone makes the client raise
// its clock and say again that it is here.
func (s *Set) TombstonesOf(room uint64) map[uint64][]Entry {
	bySession := map[uint64][]Entry{}
	for id, c := range s.clients {
		if c.state != nil && c.owner.Room == room {
			bySession[c.owner.Session] = append(bySession[c.owner.Session], Entry{Client: id, Clock: c.clock})
		}
	}
	return bySession
}

// OwnerOf returns whose a client is that is present.
func (s *Set) OwnerOf(id uint64) (Owner, bool) {
	c := s.clients[id]
	if c == nil || c.state == nil {
		return Owner{}, false
	}
	return c.owner, true
}

// Newest returns the newest entry of a client. A client that is not known any
// more has left: it is returned as a tombstone at the clock that the caller
// last saw.
func (s *Set) Newest(id, seen uint64) Entry {
	if _, ok := s.clients[id]; ok {
		return s.entry(id)
	}
	return Entry{Client: id, Clock: seen}
}

// clientMemory is what a client, or its tombstone, takes beside its state, in bytes.
const clientMemory = 200

// Bytes returns roughly how much memory the set takes. It costs nothing.
func (s *Set) Bytes() int { return s.bytes + clientMemory*len(s.clients) }

// Len returns how many clients are present.
func (s *Set) Len() int {
	n := 0
	for _, c := range s.clients {
		if c.state != nil {
			n++
		}
	}
	return n
}

func (s *Set) entry(id uint64) Entry {
	c := s.clients[id]
	return Entry{Client: id, Clock: c.clock, State: c.state, User: c.user}
}

// set copies the state: entries alias a frame that will be reused.
func (s *Set) set(e Entry, owner Owner, now time.Time) *client {
	if s.clients == nil {
		s.clients = make(map[uint64]*client, 4)
	}
	c := s.clients[e.Client]
	if c == nil {
		c = new(client)
		s.clients[e.Client] = c
	}
	c.clock, c.said, c.owner, c.user, c.heard = e.Clock, e.Clock, owner, e.User, now
	s.bytes += len(e.State) - len(c.state)
	if e.State == nil {
		c.state = nil
		s.gone = append(s.gone, tombstone{e.Client, e.Clock, now.Add(TombstoneFor)})
		return c
	}
	c.state = bytes.Clone(e.State)
	return c
}

// expire forgets the tombstones that are due; its cost is that of the ones it
// forgets.
func (s *Set) expire(now time.Time) {
	n := 0
	for ; n < len(s.gone) && (!now.Before(s.gone[n].until) || len(s.gone)-n > maxTombstones); n++ {
		t := s.gone[n]
		if c := s.clients[t.client]; c != nil && c.state == nil && c.clock == t.clock {
			delete(s.clients, t.client)
		}
	}
	if n > 0 {
		s.gone = append(s.gone[:0], s.gone[n:]...)
		if cap(s.gone) > maxTombstones && len(s.gone) < cap(s.gone)/4 { // a crowd has left
			s.gone = slices.Clone(s.gone)
		}
	}
}
