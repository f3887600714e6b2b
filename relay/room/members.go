package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// members are the seats of a room, and what goes out to them. What the store took was
// handed to each of them but its author, or is gathered, or is in the difference that a
// member is owed who is behind. seats[i].index is i. Guarded by Room.mu.
type members struct {
	room     *Room
	seats    []*Seat
	sessions uint64       // the last session id given
	message  wire.Message // being sent; empty otherwise, so that nothing is kept
	gathered gathered
	live     *course   // of a large update that members are being sent
	liveAt   time.Time // when it came
}

// add gives a seat its place and its session's id.
func (ms *members) add(s *Seat) {
	ms.sessions++
	s.aware.Owner = awareness.Owner{Room: uint64(ms.room.id), Session: ms.sessions}
	s.index = len(ms.seats)
	ms.seats = append(ms.seats, s)
}

func (ms *members) remove(s *Seat) {
	last := len(ms.seats) - 1
	ms.seats[s.index] = ms.seats[last]
	ms.seats[s.index].index = s.index
	ms.seats[last] = nil
	ms.seats = ms.seats[:last]
	s.index = -1
}

// prefetchAhead is how many members are fetched from memory together. All that the kernel
// does for one member pushes those that follow out of the nearer caches. What a write needs
// of a member is a chain of pointers, each of which has to arrive before the next is known;
// the processor follows the chains of several members at once. What it holds of
// instructions bounds how many.
const prefetchAhead = 8

// prefetch fetches the next prefetchAhead members, from seats[i] on, every so many seats.
func (ms *members) prefetch(i int) {
	if i%prefetchAhead == 0 {
		for _, s := range ms.seats[i:min(i+prefetchAhead, len(ms.seats))] {
			s.member.Prefetch()
		}
	}
}

// send sends a message to all members but one.
func (ms *members) send(m *wire.Message, except *Seat) {
	for i, s := range ms.seats {
		ms.prefetch(i)
		if s != except {
			s.send(m)
		}
	}
}

// spread sends an update to all members but its author, at once or with others
// soon. The store has it already. It returns a copy of the update that nobody will
// change.
func (ms *members) spread(update []byte, author *Seat) (kept []byte) {
	m, g, rooms := &ms.message, &ms.gathered, ms.room.rooms
	m.Set(wire.Update, update)
	if author != nil {
		m.From = author.member
	}
	kept = m.Payload()
	now := clock()
	period := now / int64(pacePeriod)
	window := int64(rooms.pace.note(period, max(len(ms.seats)-1, 1), g.period != period))
	g.period = period
	g.came(now)
	if len(g.updates) == 0 && now-g.wrote >= window {
		g.wrote = now
		ms.send(m, author)
		*m = wire.Message{}
		return kept
	}
	*m = wire.Message{}
	if len(g.updates) == 0 {
		g.due = g.wrote + window
		rooms.writeAt(ms.room, g.due)
	}
	if g.add(kept, author); g.size > maxGathered {
		ms.sendGathered()
	}
	return kept
}

// sendGathered sends what was gathered. A frame with edits of several authors
// goes to them too: their own edits do nothing there.
func (ms *members) sendGathered() {
	updates, from := ms.gathered.take()
	if len(updates) == 0 {
		return
	}
	if merged, err := ms.room.content.merge(updates); err == nil {
		updates = [][]byte{merged}
	} // else one by one; but each was applied, and merging them cannot fail
	for _, u := range updates {
		ms.message.Set(wire.Update, u)
		ms.send(&ms.message, from)
	}
	ms.message = wire.Message{}
}

// sendDue is sendGathered when that has waited long enough.
func (ms *members) sendDue(now int64) {
	if ms.gathered.due <= now {
		ms.sendGathered()
	}
}

// spreadLarge sends all members but its author a large update that the store has taken:
// the difference to what they have.
func (ms *members) spreadLarge(before ystore.Progress, author *Seat) {
	ms.sendGathered()
	ms.live.kill()
	ms.live, ms.liveAt = new(course), time.Now()
	for _, s := range ms.seats {
		if s != author && s.behind == nil {
			s.catchUp(before, ms.live)
		}
	}
}

// spreadAwareness sends entries to all members, also to the one whose client they came
// from; nil: none did.
func (ms *members) spreadAwareness(entries []awareness.Entry, from *Seat) {
	if len(entries) == 0 {
		return
	}
	m := &ms.message
	m.Set(wire.Awareness, awareness.Append(nil, entries))
	if from != nil {
		m.From = from.member
	}
	for i, s := range ms.seats {
		ms.prefetch(i)
		s.member.SendAwareness(m, entries)
	}
	*m = wire.Message{}
}

// spreadStateless sends a text to all members but one whose app wants that.
func (ms *members) spreadStateless(text []byte, except *Seat) {
	m := wire.NewStateless(text)
	for _, s := range ms.seats {
		if s != except && s.stateless {
			s.send(m)
		}
	}
}

// tick lets the pieces of a large update go that nobody needs any more.
func (ms *members) tick(now time.Time) {
	if ms.live != nil && now.Sub(ms.liveAt) > liveCourse {
		ms.live.kill()
		ms.live = nil
	}
}

// Members returns how many members the room has.
func (r *Room) Members() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members.seats)
}

// CloseAll asks all members to end with a close code and a reason.
func (r *Room) CloseAll(code int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.members.seats {
		s.member.Close(code, reason)
	}
}
