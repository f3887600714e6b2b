// Package session is one client connection: a reader, a bounded queue, and a
// writer that exists only while something waits to be written.
package session

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Socket is a WebSocket that has been accepted. Reading, and with it the
// answers to pings and close frames, is coder/websocket's; data frames are
// written ready-made to the connection below it.
type Socket struct {
	ws   *websocket.Conn
	top  net.Conn // what frames are written to: conn, or the TLS connection on it
	conn *Conn
	tls  bool

	closed atomic.Pointer[Closed]
}

// Closed says how a connection was ended.
type Closed struct {
	Code   int // the WebSocket close code; 1006 when the peer just went away
	Reason string
	Ours   bool // this node ended it
}

// linger is how long a peer may take to answer a close frame.
const linger = time.Second

// errNotOurs is returned when the server was not started with a Listener.
var errNotOurs = errors.New("the connection does not come from a session.Listener")

// Accept completes the WebSocket handshake of a request that came by a Listener,
// possibly over TLS, selecting subprotocol if it is not empty. On an error the
// request has been answered. The Origin is the caller's to check.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (*Socket, error) {
	s := new(Socket)
	opts := websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled}
	if subprotocol != "" {
		opts.Subprotocols = []string{subprotocol}
	}
	ws, err := websocket.Accept(&hijacker{ResponseWriter: w, socket: s}, r, &opts)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // its own limit would close with another reason than ours
	s.ws = ws
	return s, nil
}

// hijacker hands coder/websocket small buffers: net/http's take 8 KiB for as
// long as a connection idles. Larger messages are read past the buffer.
type hijacker struct {
	http.ResponseWriter
	socket *Socket
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
		c = wrapped.NetConn()
	}
}

const (
	readBuffer  = 512
	writeBuffer = 160 // the largest control frame and its header
)

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket.attach(c)
	if h.socket.conn == nil {
		_ = c.Close()
		return nil, nil, errNotOurs
	}
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), c), max(readBuffer, len(early)))
	if len(early) > 0 { // coder/websocket takes over what is buffered, and only that
		_, _ = reader.Peek(len(early))
	}
	return c, bufio.NewReadWriter(reader, bufio.NewWriterSize(c, writeBuffer)), nil
}

// Close sends a close frame and ends the connection when the peer has answered,
// or after a second. Only the first call counts. It does not block; somebody
// must be reading, or the peer's answer is not seen.
func (s *Socket) Close(code int, reason string) {
	if !s.closed.CompareAndSwap(nil, &Closed{Code: code, Reason: reason, Ours: true}) {
		return
	}
	frame := closeFrame(code, reason)
	if !s.tls {
		s.conn.writeLast(frame)
	} else { // over TLS the frame becomes a record on its way down
		_, _ = s.top.Write(frame)
		s.conn.finish()
	}
	time.AfterFunc(linger, s.end)
}

// Refuse closes a socket that never became a session, and waits for the peer to
// answer, at most a second.
func (s *Socket) Refuse(code int, reason string) {
	s.conn.direct(nil, linger)
	s.Close(code, reason)
	_ = s.conn.SetReadDeadline(time.Now().Add(linger))
	for {
		if _, _, err := s.ws.Reader(background); err != nil {
			break
		}
	}
	s.end()
}

// end closes the connection without further ceremony.
func (s *Socket) end() { _ = s.ws.CloseNow() }

// MaxReason is how many bytes a close frame's reason holds.
const MaxReason = 123

// closeFrame is a whole WebSocket close frame. A reason that is too long is cut.
func closeFrame(code int, reason string) []byte {
	if len(reason) > MaxReason {
		reason = reason[:MaxReason]
	}
	f := []byte{0x88, byte(2 + len(reason))}
	f = binary.BigEndian.AppendUint16(f, uint16(code))
	return append(f, reason...)
}
