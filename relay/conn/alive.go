package conn

import (
	"context"
	"time"
)

// EndDead pings connections, and ends the ones of which nothing has come within a time: their
// clients are gone, and hold places that others wait for. It returns when all have answered,
// the time is over, or ctx ends.
// Connections whose socket is behind are left alone: what they have to read comes first.
func EndDead(ctx context.Context, conns []*Conn, within time.Duration) (ended int) {
	type pinged struct {
		*Conn
		heard int64
	}
	var asked []pinged
	for _, c := range conns {
		if c.socket.behind() {
			continue
		}
		heard := c.socket.lastIn.Load()
		asked = append(asked, pinged{c, heard})
		c.Ping()
	}
	gone := func() (silent []pinged) {
		for _, c := range asked {
			if c.socket.lastIn.Load() == c.heard && !c.socket.behind() {
				silent = append(silent, c)
			}
		}
		return silent
	}
	tick := time.NewTicker(min(within/8+1, 50*time.Millisecond))
	defer tick.Stop()
	for end := time.Now().Add(within); time.Now().Before(end); {
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
	for _, c := range asked {
		c.End()
	}
	return len(asked)
}
