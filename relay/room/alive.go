package room

import "time"

// aliveWithin is how long a client that lives may be silent: it is pinged every 20 s.
const aliveWithin = 25 * time.Second

// renew keeps clients of this room visible whose timers rest, as those of tabs in the
// background do, while their connections live. Callers hold mu.
func (r *Room) renew(now time.Time) {
	var seats map[uint64]*Seat // by session; made when it is needed
	renewed := r.aware.Renew(uint64(r.id), now, func(session uint64) bool {
		if seats == nil {
			seats = make(map[uint64]*Seat, len(r.seats))
			for _, s := range r.seats {
				seats[s.aware.Owner.Session] = s
			}
		}
		s := seats[session]
		return s != nil && s.member.Silent() < aliveWithin
	})
	r.spreadAwareness(renewed, nil)
	r.publishAwareness(renewed)
}

// contestFor is how long a client whose presence another user claims may take to answer
// a ping.
const contestFor = 3 * time.Second

// contest looks whether the session lives that has a client: after a change of network
// one that is dead looks alive for a minute, and whoever comes back with another token is
// taken for another user. Sessions of other pods are left in peace. Callers hold mu.
func (r *Room) contest(client uint64, now time.Time) {
	owner, ok := r.aware.OwnerOf(client)
	if !ok || owner.Room != uint64(r.id) {
		return
	}
	for _, s := range r.seats {
		if s.aware.Owner == owner && s.contestedAt == nil {
			s.contestedAt = &now
			r.contested = true
			s.member.Ping()
		}
	}
}

// endContests takes the clients of those away who did not answer. Who claims one of
// them hears that it is gone, and raises its clock. Callers hold mu.
func (r *Room) endContests(now time.Time) {
	if !r.contested {
		return
	}
	r.contested = false
	for _, s := range r.seats {
		if s.contestedAt == nil {
			continue
		}
		waited := now.Sub(*s.contestedAt)
		if waited < contestFor {
			r.contested = true
			continue
		}
		s.contestedAt = nil
		if s.member.Silent() < waited {
			continue
		}
		removed := r.aware.RemoveSession(s.aware.Owner, now)
		r.spreadAwareness(removed, nil)
		r.publishAwareness(removed)
	}
}
