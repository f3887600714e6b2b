// Package session is one client connection: a reader, a bounded queue, and a
// writer that exists only while something waits to be written.
package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/wsnode/wsnode/relay/closecode"
)

// Socket is a WebSocket that has been accepted. It takes frames apart for the one
// goroutine that reads; frames to the peer are written ready-made.
type Socket struct {
	in   frames
	top  net.Conn // what frames are written to: conn, or the TLS connection on it
	conn *Conn
	tls  bool

	session *Session // nil: the socket is being refused

	closed atomic.Pointer[Closed]
}

// Closed says how a connection was ended.
type Closed struct {
	Code   int // the WebSocket close code; 1006 when the peer just went away
	Reason string
	Ours   bool // this node ended it
	// Err is what the client sent that ended the session, if that was why: a
	// *MessageError, or says it in words.
	Err error
}

// linger is how long a peer may take to answer a close frame.
const linger = time.Second

// errNotOurs is returned when the server was not started with a Listener.
var errNotOurs = errors.New("the connection does not come from a session.Listener")

// Accept completes the WebSocket handshake of a request that came by a Listener,
// possibly over TLS, selecting subprotocol if it is not empty. On an error the
// request has been answered. The Origin is the caller's to check.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (*Socket, error) {
	var upgrader ws.HTTPUpgrader
	if subprotocol != "" {
		upgrader.Protocol = func(offered string) bool { return offered == subprotocol }
	}
	c, buffered, _, err := upgrader.Upgrade(r, w)
	if err != nil {
		if c != nil {
			_ = c.Close()
		}
		return nil, err
	}
	s := new(Socket)
	s.in = frames{socket: s, state: ws.StateServerSide}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	s.in.early = bytes.Clone(early)
	if s.attach(c); s.conn == nil {
		_ = c.Close()
		return nil, errNotOurs
	}
	return s, nil
}

// attach finds our connection below what the server hands out.
func (s *Socket) attach(c net.Conn) {
	s.top = c
	for s.conn == nil {
		switch below := c.(type) {
		case *Conn:
			s.conn = below
			continue
		case *tls.Conn:
			s.tls = true
		}
		wrapped, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		if holds, ok := c.(interface{ Unread() []byte }); ok {
			s.in.early = append(s.in.early, holds.Unread()...)
		}
		c = wrapped.NetConn()
	}
}

// Close sends a close frame and ends the connection when the peer has answered,
// or after a second. Only the first call counts. It does not block; somebody
// must be reading, or the peer's answer is not seen.
func (s *Socket) Close(code int, reason string) {
	if !s.closed.CompareAndSwap(nil, &Closed{Code: code, Reason: reason, Ours: true}) {
		return
	}
	s.writeLast(closeFrame(code, reason))
	time.AfterFunc(linger, s.end)
}

// answer answers the peer's close frame with its own code, unless it is an answer
// itself.
func (s *Socket) answer(code int) {
	if s.closed.Load() == nil {
		s.writeLast(closeFrame(code, ""))
	}
}

// violated ends a connection whose peer does not speak the protocol.
func (s *Socket) violated(err error) error {
	s.Close(closecode.Protocol, err.Error())
	_, _ = io.Copy(io.Discard, s.top) // else what is unread resets the connection, and the frame is lost
	return err
}

// write writes a frame that nobody will change, and reports whether the socket is
// behind. A failed connection is found out by its reader.
func (s *Socket) write(frame []byte) (behind bool) {
	if !s.tls {
		behind, _ = s.conn.writeShared(frame)
		return behind
	}
	_, _ = s.top.Write(frame)
	return s.conn.behind()
}

// writeLast writes the close frame, after which nothing is written.
func (s *Socket) writeLast(frame []byte) {
	if !s.tls {
		s.conn.writeLast(frame)
	} else { // over TLS the frame becomes a record on its way down
		_, _ = s.top.Write(frame)
		s.conn.finish()
	}
}

// Refuse closes a socket that never became a session, and waits for the peer to
// answer, at most a second.
func (s *Socket) Refuse(code int, reason string) {
	s.conn.direct(nil, linger)
	s.Close(code, reason)
	_ = s.conn.SetReadDeadline(time.Now().Add(linger))
	for s.conn.in.Load() < refusedBytes {
		if _, err := s.in.next(); err != nil {
			break
		}
		if _, err := io.Copy(io.Discard, &s.in); err != nil {
			break
		}
	}
	s.end()
}

// refusedBytes is how much of a refused peer is read, its request included: what it sent
// before it knew, and no flood.
const refusedBytes = 256 << 10

// end closes the connection without further ceremony.
func (s *Socket) end() { _ = s.top.Close() }

// MaxReason is how many bytes a close frame's reason holds.
const MaxReason = 123
