package session

import (
	"context"
	"time"
)

// Rouse pings sessions, and ends the ones of which nothing has come after patience: their clients are gone, and hold places that
// others wait for. It returns when all have answered, patience is over, or ctx ends.
// Sessions whose socket is behind are left alone: what they have to read comes first.
func Rouse(ctx context.Context, sessions []*Session, patience time.Duration) (ended int) {
	type pinged struct {
		*Session
		heard int64
	}
	var asked []pinged
	for _, s := range sessions {
		if s.socket.conn.behind() {
			continue
		}
		heard := s.socket.conn.lastIn.Load()
		asked = append(asked, pinged{s, heard})
		s.ping()
	}
	gone := func() (silent []pinged) {
		for _, s := range asked {
			if s.socket.conn.lastIn.Load() == s.heard && !s.socket.conn.behind() {
				silent = append(silent, s)
			}
		}
		return silent
	}
	tick := time.NewTicker(min(patience/8+1, 50*time.Millisecond))
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if asked = gone(); len(asked) == 0 {
			return 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0
		}
	}
	asked = gone()
	for _, s := range asked {
		s.End()
	}
	return len(asked)
}
