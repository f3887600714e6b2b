package awareness

import "time"

// RenewAfter is when the state of a client is renewed that has not renewed it itself. It
// has 30 s in y-protocols, whose clients do it after 15 to 18; but browsers let the timers
// of a tab in the background fire once a minute, though its connection lives.
const RenewAfter = 20 * time.Second

// renewEvery is how often all clients are looked at, at most.
const renewEvery = time.Second

// maxRenewed leaves a client room to raise its clock itself.
const maxRenewed = maxInt / 2

// Renew raises the clocks of a room's clients whose sessions are alive and who have not
// been heard for RenewAfter. It returns their states, which go to everyone, the owners
// included: knowing the clock, their own next update is newer. What an owner says before
// it knows is given a newer one here. Clients that a session only carries are not renewed:
// whether those are still there, it alone knows.
func (s *Set) Renew(room uint64, now time.Time, alive func(session uint64) bool) (renewed []Entry) {
	if now.Before(s.renewAt) {
		return nil
	}
	next := now.Add(RenewAfter)
	for id, c := range s.clients {
		if c.state == nil || !c.self || c.owner.Room != room || c.clock >= maxRenewed {
			continue
		}
		if due := c.heard.Add(RenewAfter); now.Before(due) {
			if due.Before(next) {
				next = due
			}
			continue
		}
		if !alive(c.owner.Session) {
			next = now // looked at again soon
			continue
		}
		c.clock++
		c.heard = now
		renewed = append(renewed, s.entry(id))
	}
	s.renewAt = next
	if soonest := now.Add(renewEvery); next.Before(soonest) {
		s.renewAt = soonest
	}
	return renewed
}
