package conn

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// script is a client that sends what it is told, in pieces, and then is gone.
type script struct {
	net.Conn
	rest  []byte
	piece int
	reads int
}

func (s *script) Read(p []byte) (int, error) {
	s.reads++
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(s.piece, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// said are the messages that a client has sent whole, with their kinds, and whether it was
// told that it violates the protocol.
func said(t *testing.T, data []byte, piece int) (messages [][]byte, violates bool) {
	client := &script{rest: data, piece: piece}
	c := &Conn{top: client, tls: true, socket: &socket{Conn: client}}
	c.in = frames{conn: c, state: ws.StateServerSide}
	for {
		another, reads := c.in.another(), client.reads
		kind, err := c.in.next()
		if err == nil {
			var message []byte
			if message, err = io.ReadAll(&c.in); err == nil {
				messages = append(messages, append([]byte{byte(kind)}, message...))
			}
		}
		if another && (err != nil || kind != ws.OpBinary || client.reads != reads) {
			t.Fatalf("a message was said to be there, and is not: %v, %v", kind, err)
		}
		if err != nil {
			how := c.closed.Load()
			return messages, how != nil && how.Code == int(ws.StatusProtocolError)
		}
	}
}

// However what a client sends is cut into pieces on its way, it is the same messages.
func FuzzFrames(f *testing.F) {
	small := frame(ws.OpBinary, true, update(20))
	f.Add(bytes.Repeat(small, 3), uint16(1))
	f.Add(append(bytes.Clone(small), frame(ws.OpPing, true, []byte("?"))...), uint16(7))
	f.Add(append(frame(ws.OpBinary, false, []byte("a")), frame(ws.OpContinuation, true, []byte("b"))...), uint16(3))
	f.Add(append(bytes.Clone(small), frame(ws.OpClose, true, []byte{3, 232})...), uint16(5))
	f.Add(append(bytes.Clone(small), frame(ws.OpBinary, true, update(300))...), uint16(1000))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		whole, violates := said(t, data, max(len(data), 1))
		parts, violatesToo := said(t, data, int(piece)+1)
		if violates != violatesToo || len(whole) != len(parts) {
			t.Fatalf("%d messages (violation: %v) at once, %d (%v) in pieces", len(whole), violates, len(parts), violatesToo)
		}
		for i := range whole {
			if !bytes.Equal(whole[i], parts[i]) {
				t.Fatalf("message %d is %q at once and %q in pieces", i, whole[i], parts[i])
			}
		}
	})
}
