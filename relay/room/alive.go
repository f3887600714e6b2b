package room

import "time"

// aliveWithin is how long a client that lives may be silent: it is pinged every 20 s.
const aliveWithin = 25 * time.Second

// renew keeps clients of this room visible whose timers rest, as those of tabs in the
// background do, while their connections live.
func (p *presence) renew(now time.Time) {
	var seats map[uint64]*Seat // by session; made when it is needed
	renewed := p.set.Renew(uint64(p.room.id), now, func(session uint64) bool {
		if seats == nil {
			seats = make(map[uint64]*Seat, len(p.room.members.seats))
			for _, s := range p.room.members.seats {
				seats[s.aware.Owner.Session] = s
			}
		}
		s := seats[session]
		return s != nil && s.member.Silent() < aliveWithin
	})
	if len(renewed) > 0 {
		p.tell(renewed, nil)
	}
}

// contestFor is how long a client whose presence another user claims may take to answer
// a ping.
const contestFor = 3 * time.Second

// contest looks whether the session lives that has a client: after a change of network
// one that is dead looks alive for a minute, and whoever comes back with another token is
// taken for another user. Sessions of other pods are left in peace.
func (p *presence) contest(client uint64, now time.Time) {
	owner, ok := p.set.OwnerOf(client)
	if !ok || owner.Room != uint64(p.room.id) {
		return
	}
	for _, s := range p.room.members.seats {
		if s.aware.Owner == owner && s.contestedAt == nil {
			s.contestedAt = &now
			p.contested = true
			s.member.Ping()
		}
	}
}

// endContests takes the clients of those away who did not answer. Who claims one of
// them hears that it is gone, and raises its clock.
func (p *presence) endContests(now time.Time) {
	if !p.contested {
		return
	}
	p.contested = false
	for _, s := range p.room.members.seats {
		if s.contestedAt == nil {
			continue
		}
		waited := now.Sub(*s.contestedAt)
		if waited < contestFor {
			p.contested = true
			continue
		}
		s.contestedAt = nil
		if s.member.Silent() < waited {
			continue
		}
		p.tell(p.set.RemoveSession(s.aware.Owner, now), nil)
	}
}
