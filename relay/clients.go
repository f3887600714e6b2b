package relay

import (
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/roster"
	"github.com/wsnode/wsnode/relay/session"
)

// clients are those of a node: with a session in a document here, or carried to where
// their document is. Each is on one of the two rosters from its admission until it leaves,
// and its traffic is counted once: on the roster, or among those that have ended.
type clients struct {
	sessions roster.Roster[*seated]
	carried  roster.Roster[*carried]

	mu    sync.Mutex      // held while a session goes from the roster to ended, so that no sum goes down
	ended control.Traffic // of sessions
}

// stay is a client of this node, which has its document here or is carried.
type stay interface {
	end(code int, reason string) // closes with a code, soon
	cut()                        // cuts the connection without waiting for the client
}

func (c *clients) init(started time.Time) { c.sessions.Init(started) }

// add puts a session on the roster.
func (c *clients) add(s *seated) { s.id = c.sessions.Add(s) }

// remove takes a session off the roster and keeps its traffic, both at once.
func (c *clients) remove(s *seated) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addTraffic(&c.ended, s.session)
	c.sessions.Remove(s.id)
}

func (c *clients) addCarried(p *carried)    { p.id = c.carried.Add(p) }
func (c *clients) removeCarried(p *carried) { c.carried.Remove(p.id) }

// seated are the sessions that are here, oldest first.
func (c *clients) seated() []*seated { return c.sessions.All() }

// After returns up to n sessions that came after the one with the id, and whether there
// may be more.
func (c *clients) After(id uint64, n int) (found []roster.Entry[*seated], more bool) {
	return c.sessions.After(id, n)
}

// len is how many sessions there are.
func (c *clients) len() int { return c.sessions.Len() }

// all are the clients that are here.
func (c *clients) all() []stay {
	var all []stay
	for _, s := range c.sessions.All() {
		all = append(all, s)
	}
	for _, p := range c.carried.All() {
		all = append(all, p)
	}
	return all
}

// traffic adds up the sessions that are there and those that were.
func (c *clients) traffic() control.Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.ended
	for _, s := range c.seated() {
		addTraffic(&sum, s.session)
	}
	return sum
}

func addTraffic(t *control.Traffic, s *session.Session) {
	framesIn, framesOut, bytesIn, bytesOut := s.Traffic()
	t.FramesIn += framesIn
	t.FramesOut += framesOut
	t.BytesIn += bytesIn
	t.BytesOut += bytesOut
}
