package conn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"
)

// errNotOurs is returned when the server was not started with a Listener.
var errNotOurs = errors.New("the connection does not come from a conn.Listener")

// Accept completes the WebSocket handshake of a request that came by a Listener,
// possibly over TLS, selecting subprotocol if it is not empty. On an error the
// request has been answered. The Origin is the caller's to check.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (*Conn, error) {
	var upgrader ws.HTTPUpgrader
	if subprotocol != "" {
		upgrader.Protocol = func(offered string) bool { return offered == subprotocol }
	}
	below, buffered, _, err := upgrader.Upgrade(r, w)
	if err != nil {
		if below != nil {
			_ = below.Close()
		}
		return nil, err
	}
	c := new(Conn)
	c.in = frames{conn: c, state: ws.StateServerSide}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	c.in.early = bytes.Clone(early)
	if c.find(below); c.socket == nil {
		_ = below.Close()
		return nil, errNotOurs
	}
	return c, nil
}

// find finds our socket below what the server hands out.
func (c *Conn) find(below net.Conn) {
	c.top = below
	for c.socket == nil {
		switch b := below.(type) {
		case *socket:
			c.socket = b
			continue
		case *tls.Conn:
			c.tls = true
		}
		wrapped, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		if holds, ok := below.(interface{ Unread() []byte }); ok {
			c.in.early = append(c.in.early, holds.Unread()...)
		}
		below = wrapped.NetConn()
	}
}

// Refuse closes a connection that does not run, and waits for the
// client to answer, at most a second.
func (c *Conn) Refuse(code int, reason string) {
	c.guard = nil
	c.socket.direct(nil, linger)
	c.Close(code, reason)
	_ = c.socket.SetReadDeadline(time.Now().Add(linger))
	for c.socket.in.Load() < refusedBytes {
		if _, err := c.in.next(); err != nil {
			break
		}
		if _, err := io.CopyN(io.Discard, &c.in, refusedBytes); err != io.EOF {
			break
		}
	}
	c.end()
}
