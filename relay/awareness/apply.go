package awareness

import (
	"bytes"
	"time"
)

// Session is what the set must know of a session to judge its updates. The zero
// value is a session that has not sent awareness yet. The set owns its fields but the
// first two.
type Session struct {
	Owner Owner
	// User tells sessions of different people apart: while a session has a client, those
	// of others may neither change it nor take it away. Sessions of one user may, since
	// tabs of a browser pass on each other's states, and who reconnects has two sessions
	// until the first is known to be dead. It is a hash, of the same on all nodes; 0 is
	// anybody.
	User uint64
	// Self is the client that the session's first awareness message was about.
	// Clients pass on what they hear, so a state alone does not tell whose it is.
	Self uint64
	// Returned says that the client had a connection before, and remembers the
	// clocks that it saw there: Self was known when the session introduced it, or it
	// has a past and this set is too young to have one, as after a move from another
	// region.
	Returned bool
	// Contests says that Self is held by another user's session, which may be dead
	// without its being known. Whoever reads it sets it back.
	Contests bool

	hasSelf    bool
	introduced int  // clients that it may have; more than it has if others took some over
	recounted  bool // that was made exact during this update
}

// ApplySession takes the entries that a session sent. It returns those that are
// news, to be passed on to everyone, and the tombstones that go back to this
// session alone, so that a returning client raises its clock.
func (s *Set) ApplySession(from *Session, entries []Entry, now time.Time) (news, tombstones []Entry) {
	s.expire(now)
	if s.opened.IsZero() {
		s.opened = now
	}
	returning := s.meet(from, entries, now)
	from.recounted = false
	for _, e := range entries {
		e.User = from.User
		known := s.clients[e.Client]
		switch {
		case known == nil:
			if s.introduce(from, e, now) {
				news = append(news, s.entry(e.Client))
			}
		case known.state != nil && known.owner != from.Owner && known.user != from.User && known.user != 0:
			s.dispute(from, known, e)
		case s.update(from, known, e, now):
			news = append(news, s.entry(e.Client))
		case e.Clock <= known.clock && e.State != nil && (known.state == nil || returning && known.owner != from.Owner):
			tombstones = append(tombstones, Entry{Client: e.Client, Clock: known.clock})
		}
	}
	return news, tombstones
}

// meet finds out whom a session speaks for, and reports whether it has just said so.
func (s *Set) meet(from *Session, entries []Entry, now time.Time) (returning bool) {
	if from.hasSelf || len(entries) != 1 || entries[0].State == nil {
		return false
	}
	from.hasSelf, from.Self = true, entries[0].Client
	_, known := s.clients[from.Self]
	stranger := entries[0].Clock > 0 && len(s.clients) > 0 && now.Sub(s.opened) < TombstoneFor
	from.Returned = known || stranger
	return true
}

// introduce takes an entry about a client that is not known.
func (s *Set) introduce(from *Session, e Entry, now time.Time) bool {
	switch {
	case e.State == nil:
		return false
	case e.Clock > MaxFirstClock:
		s.Drops.Ahead++
		return false
	case s.Most > 0 && len(s.clients) >= s.Most || !s.hasPlace(from):
		s.Drops.Many++
		return false
	}
	from.introduced++
	s.set(e, from.Owner, now).self = from.speaksFor(e.Client)
	return true
}

// dispute refuses an entry about a client that another user's session holds. That a
// client passes on what it has heard is no attempt at anything.
func (s *Set) dispute(from *Session, known *client, e Entry) {
	if e.State != nil && from.speaksFor(e.Client) {
		from.Contests = true
	}
	if e.Clock > known.clock {
		s.Drops.Foreign++
	}
}

// update takes an entry about a client that is known, and that the session may speak
// about. It reports whether it is news.
func (s *Set) update(from *Session, known *client, e Entry, now time.Time) bool {
	had := known.state != nil && known.owner == from.Owner
	said := e.Clock
	switch {
	case had && e.Clock > known.said && e.Clock <= known.clock: // the owner does not know that Renew has raised it
		if e.Clock == known.clock && e.State != nil && bytes.Equal(e.State, known.state) {
			known.said = e.Clock // now it does: this is its echo
			return false
		}
		e.Clock = known.clock + 1
	case e.Clock > known.clock && e.Clock-known.clock > MaxClockLead:
		s.Drops.Ahead++
		return false
	case e.Clock > known.clock:
	case e.State == nil && e.Clock == known.clock && had:
	default:
		return false
	}
	owner := known.owner
	if known.state == nil || from.speaksFor(e.Client) {
		owner = from.Owner
	}
	switch {
	case owner != from.Owner:
		if e.State == nil {
			return false // only its owner can take a client away
		}
	case e.State == nil && had:
		from.introduced--
	case e.State != nil && !had:
		if !s.hasPlace(from) {
			s.Drops.Many++
			return false
		}
		from.introduced++
	}
	self := known.self && owner == known.owner
	c := s.set(e, owner, now)
	c.said, c.self = said, self || owner == from.Owner && from.speaksFor(e.Client)
	return true
}

func (f *Session) speaksFor(client uint64) bool { return f.hasSelf && f.Self == client }

// hasPlace reports whether the session may have one more client. Those that others took
// over are found once an update: it costs a look at all.
func (s *Set) hasPlace(from *Session) bool {
	if from.introduced < MaxClients || from.recounted {
		return from.introduced < MaxClients
	}
	from.recounted, from.introduced = true, 0
	for _, c := range s.clients {
		if c.state != nil && c.owner == from.Owner {
			from.introduced++
		}
	}
	return from.introduced < MaxClients
}

// ApplyRoom takes the entries that a room on another pod sent about its own
// clients. It returns those that are news, and the tombstones that go back to that
// room: of clients that came back to a pod that did not know them, with clocks
// that everybody else takes for old.
func (s *Set) ApplyRoom(room uint64, entries []Entry, now time.Time) (news, tombstones []Entry) {
	s.expire(now)
	for _, e := range entries {
		known, exists := s.clients[e.Client]
		if exists && known.state == nil && e.State != nil && e.Clock <= known.clock {
			tombstones = append(tombstones, Entry{Client: e.Client, Clock: known.clock})
			continue
		}
		if exists && (e.Clock < known.clock || e.Clock == known.clock && (e.State != nil || known.state == nil)) {
			continue
		}
		s.set(e, Owner{Room: room}, now).self = false
		if exists || e.State != nil {
			news = append(news, s.entry(e.Client))
		} // else remembered all the same: its client may come back to this pod
	}
	return news, tombstones
}
