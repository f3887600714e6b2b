package conn

import (
	"time"

	"github.com/gobwas/ws"
)

// First waits for the first message of a connection that is attached to nothing yet, at
// most so long, and takes no more than so many bytes, which count for share until FirstDone
// is called. On an error the connection can still be refused. The message counts as read by
// Run.
func (c *Conn) First(cfg *Config, share *Share, within time.Duration, most int) (message []byte, err error) {
	c.cfg, c.share, c.handler = cfg, share, first(most)
	c.socket.direct(nil, linger)
	if err := c.socket.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	kind, err := c.in.next()
	if err != nil {
		return nil, err
	}
	if kind != ws.OpBinary {
		return nil, errText
	}
	message, err = c.readMessage(&c.in, nil)
	if err == nil && len(message) > most {
		err = &tooLargeError{most}
	}
	if err != nil {
		c.forget()
		return nil, err
	}
	c.messages.in.Add(1)
	return message, c.socket.SetReadDeadline(time.Time{})
}

// FirstDone is called when nobody has the first message any more, before Run.
func (c *Conn) FirstDone() { c.forget() }

// first is how large the first message may be: Handler, until there is another.
type first int

func (first) Message([]byte) time.Duration { return 0 }
func (f first) Limit([]byte) int           { return int(f) }
func (first) Drained() bool                { return false }
func (first) KeepAlive()                   {}
