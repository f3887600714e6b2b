package conn

import (
	"sync"
	"time"
)

// refusal is the end of a connection for what its client has sent, and will send again
// when it comes back. y-websocket does so within 100 ms of a close, each time with all
// that it has; so the connection stops taking anything at once, and is closed some
// seconds later.
type refusal struct {
	mu    sync.Mutex
	why   error
	timer *time.Timer // nil: it is not kept, or was closed
}

// over stands for the refusal of connections that ended without one.
var over = new(refusal)

// maxRefused bounds the connections of a node that are kept so; more are closed at once.
const maxRefused = 4096

// endRefusal is called when the connection has ended, by whomever, and returns why it was
// to.
func (c *Conn) endRefusal() error {
	if c.refusal.CompareAndSwap(nil, over) {
		return nil
	}
	r := c.refusal.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
		c.cfg.refused.Add(-1)
	}
	return r.why
}

// Reject ends the connection for what its client has sent: after a while, unless the client
// stays away by itself. It does not block.
func (c *Conn) Reject(code int, reason string, why error, staysAway bool) {
	r := &refusal{why: why}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.refusal.CompareAndSwap(nil, r) {
		return
	}
	if staysAway || c.cfg.RefuseAfter < 0 {
		c.Close(code, reason)
		return
	}
	if c.cfg.refused.Add(1) > maxRefused {
		c.cfg.refused.Add(-1)
		c.Close(code, reason)
		return
	}
	r.timer = time.AfterFunc(c.cfg.RefuseAfter, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer != nil {
			r.timer = nil
			c.cfg.refused.Add(-1)
			c.Close(code, reason)
		}
	})
}
