package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/oplog"
)

// presence is who is here. Every change of the set is told to all members of this room, and
// by their rooms to those of other pods: of a client of this room that changed, its pod
// tells the newest state, once for many changes. A pod that opens the document later is
// told in answer to its hello. Guarded by Room.mu.
type presence struct {
	room          *Room
	set           awareness.Set
	unsent        map[uint64]struct{} // clients of this room of whose changes other pods must hear
	returned      bool                // a client came back and sees nobody; see reannounce.go
	reannouncedAt time.Time
	contested     bool // a seat is; see alive.go
}

// tell is a change of clients of this room, by what a member's client sent; nil: by nothing
// that one did.
func (p *presence) tell(news []awareness.Entry, from *Seat) {
	p.spread(news, from)
	if len(news) == 0 || p.room.peers.alone() {
		return
	}
	if p.unsent == nil {
		p.unsent = make(map[uint64]struct{}, len(news))
	}
	for _, e := range news {
		p.unsent[e.Client] = struct{}{}
	}
	p.room.out.schedule(true)
}

// spread tells the members of a change, and charges the app for what it takes.
func (p *presence) spread(news []awareness.Entry, from *Seat) {
	p.room.content.count()
	p.room.members.spreadAwareness(news, from)
}

// fromSession takes what a member's client says. It returns the tombstones that the member
// is to be sent.
func (p *presence) fromSession(s *Seat, entries []awareness.Entry, now time.Time) (tombstones []awareness.Entry) {
	r, before := p.room, s.aware.Returned
	news, tombstones := p.set.ApplySession(&s.aware, entries, now)
	if s.aware.Returned && !before {
		p.welcome()
	}
	if s.aware.Contests {
		s.aware.Contests = false
		p.contest(s.aware.Self, now)
	}
	r.rooms.dropped(r.doc, p.set.Drops)
	p.set.Drops = awareness.Drops{}
	p.tell(news, s)
	return tombstones
}

// leave takes the clients of a session away.
func (p *presence) leave(s *Seat, now time.Time) {
	p.tell(p.set.RemoveSession(s.aware.Owner, now), nil)
}

// fromRoom takes what the room of another pod says of its clients. It returns the tombstones
// that it is to be sent.
func (p *presence) fromRoom(id oplog.ID, entries []awareness.Entry, now time.Time) (tombstones []awareness.Entry) {
	news, tombstones := p.set.ApplyRoom(uint64(id), entries, now)
	p.spread(news, nil)
	if len(tombstones) > 0 {
		p.welcome()
	}
	return tombstones
}

// forget takes the clients of rooms on other pods away.
func (p *presence) forget(now time.Time, ids ...oplog.ID) {
	var removed []awareness.Entry
	for _, id := range ids {
		removed = append(removed, p.set.RemoveRoom(uint64(id), now)...)
	}
	p.spread(removed, nil)
}

// depart is the outbox taking the states that other pods are to be sent.
func (p *presence) depart() (states []awareness.Entry) {
	for client := range p.unsent {
		states = append(states, p.set.Newest(client, 0))
	}
	p.unsent = nil
	return states
}

func (p *presence) tick(now time.Time) {
	p.renew(now)
	p.endContests(now)
}
