package conn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"
)

// frames takes what the client sends apart into messages (RFC 6455, section 5), and
// answers its pings and its close frame. It is for the goroutine that reads.
//
// A connection that waits holds no buffer: most connections wait most of the time,
// and a buffer each would be half of what they cost.
type frames struct {
	conn  *Conn
	early []byte  // read before there was a WebSocket
	buf   *[]byte // from readBuffers; nil: nothing is buffered
	have  []byte  // of buf, not yet consumed

	mayPark bool // nothing of the next frame was read, and no message is open

	state ws.State
	head  [ws.MaxHeaderSize]byte // working memory
	left  int64                  // of the frame's payload
	mask  [4]byte
	last  bool // the frame ends its message; beside the mask, since each word counts
	at    int  // how much of the payload was unmasked
}

// closeError is the client's close frame.
type closeError struct {
	code   int
	reason string
}

func (e *closeError) Error() string {
	return fmt.Sprintf("closed by the client: %d %s", e.code, e.reason)
}

// noStatus stands for a close frame without a code (RFC 6455, section 7.1.5).
const noStatus = 1005

// next waits for a message and returns its kind. Its bytes are read by Read, to the
// end, before next is called again.
func (f *frames) next() (ws.OpCode, error) {
	h, err := f.dataFrame()
	return h.OpCode, err
}

// Read reads the message, whatever frames it comes in; io.EOF is its end.
func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		if f.last {
			return 0, io.EOF
		}
		if _, err := f.dataFrame(); err != nil {
			return 0, err
		}
	}
	n, err := (*stream)(f).Read(p[:min(int64(len(p)), f.left)])
	ws.Cipher(p[:n], f.mask, f.at)
	f.at, f.left = f.at+n, f.left-int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// whole reports whether the rest of the message is buffered.
func (f *frames) whole() bool { return f.last && f.left <= int64(len(f.have)+len(f.early)) }

// another reports whether the next message is buffered whole: in one frame, as nearly all
// are. It is asked between messages.
func (f *frames) another() bool {
	b := f.have
	if len(f.early) > 0 || f.state != ws.StateServerSide || len(b) < 6 || b[0] != 0x80|byte(ws.OpBinary) || b[1]&0x80 == 0 {
		return false
	}
	switch n := int(b[1] & 0x7f); n {
	case 126:
		return len(b) >= 8 && len(b) >= 8+int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return false
	default:
		return len(b) >= 6+n
	}
}

// announced is how much more of the message is to come; negative: nobody knows.
func (f *frames) announced() int64 {
	if !f.last {
		return -1
	}
	return f.left
}

// dataFrame reads up to the payload of the next data frame, and deals with the
// control frames before it.
func (f *frames) dataFrame() (ws.Header, error) {
	for {
		f.mayPark = f.state == ws.StateServerSide
		h, err := ws.ReadHeaderBuffer((*stream)(f), f.head[:])
		if err == nil {
			err = ws.CheckHeader(h, f.state)
		}
		if violation := ws.ProtocolError(""); errors.As(err, &violation) || errors.Is(err, ws.ErrHeaderLengthMSB) {
			return h, f.conn.violated(err)
		} else if err != nil {
			return h, err
		}
		if h.OpCode.IsControl() || h.OpCode == ws.OpContinuation {
			if err := f.meter(h.OpCode.IsControl()); err != nil {
				return h, err
			}
		}
		if h.OpCode.IsControl() {
			if err := f.control(h); err != nil {
				return h, err
			}
			continue
		}
		f.conn.socket.waking = false
		f.left, f.mask, f.at, f.last = h.Length, h.Mask, 0, h.Fin
		if f.state = ws.StateServerSide; !h.Fin {
			f.state |= ws.StateFragmented
		}
		return h, nil
	}
}

// meter charges the client for a frame that is no message by itself: of those, too,
// each costs work.
func (f *frames) meter(control bool) error {
	if c := f.conn; c.guard != nil {
		c.slow(c.guard.Framed(control))
	} else if c.socket.in.Load() >= refusedBytes {
		return errFlood
	}
	return nil
}

// control answers a ping, and a close frame, which it returns as an error.
func (f *frames) control(h ws.Header) error {
	var frame [2 + ws.MaxControlFramePayloadSize]byte
	payload := frame[2 : 2+h.Length]
	if _, err := io.ReadFull((*stream)(f), payload); err != nil {
		return err
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPing:
		if f.conn.socket.behind() {
			return nil // what is on its way says as much, and pongs must not pile up
		}
		frame[0], frame[1] = 0x80|byte(ws.OpPong), byte(h.Length)
		f.conn.Write(bytes.Clone(frame[:2+h.Length]))
	case ws.OpClose:
		closed := &closeError{code: noStatus}
		if len(payload) > 0 {
			code, reason := ws.ParseCloseFrameData(payload)
			if err := ws.CheckCloseFrameData(code, reason); err != nil {
				return f.conn.violated(err)
			}
			closed.code, closed.reason = int(code), reason
		}
		f.conn.answer(closed.code)
		return closed
	}
	return nil
}

// stream is the bytes of the connection, through the buffer.
type stream frames

// Read waits for bytes if none are buffered. Much at once goes past the buffer.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.early) > 0 {
		s.mayPark = false
		n := copy(p, s.early)
		if s.early = s.early[n:]; len(s.early) == 0 {
			s.early = nil
		}
		return n, nil
	}
	if len(s.have) == 0 {
		if len(p) >= readBuffer {
			s.release()
			return s.conn.top.Read(p)
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	s.mayPark = false
	n := copy(p, s.have)
	s.have = s.have[n:]
	if len(s.have) == 0 {
		s.release()
	}
	return n, nil
}

// fill waits for bytes, and buffers some.
func (s *stream) fill() (err error) {
	if !s.conn.tls {
		s.buf, s.have, err = s.conn.socket.readPooled(s.mayPark)
		return err
	}
	s.buf = readBuffers.Get().(*[]byte) // TLS records need a buffer to be read into
	n, err := s.conn.top.Read(*s.buf)
	s.have = (*s.buf)[:n]
	if n > 0 {
		return nil
	}
	s.release()
	return err
}

func (s *stream) release() {
	if s.buf != nil {
		readBuffers.Put(s.buf)
		s.buf, s.have = nil, nil
	}
}

// closeFrame is a whole WebSocket close frame. A reason that is too long is cut.
func closeFrame(code int, reason string) []byte {
	if code == noStatus {
		return []byte{0x80 | byte(ws.OpClose), 0}
	}
	if len(reason) > MaxReason {
		reason = strings.ToValidUTF8(reason[:MaxReason], "") // a browser fails on half a character
	}
	f := []byte{0x80 | byte(ws.OpClose), byte(2 + len(reason))}
	f = binary.BigEndian.AppendUint16(f, uint16(code))
	return append(f, reason...)
}
