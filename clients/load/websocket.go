package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Opcodes of RFC 6455.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// A CloseError says how the server closed a WebSocket.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %s", e.Code, e.Reason) }

// A webSocket is the client side of one WebSocket: handshake, frames in, frames out.
type webSocket struct {
	sock      *sock
	request   []byte // the handshake, until it was sent
	open      bool
	opened    func(now int64)
	message   func(payload []byte, now int64) // lent
	ended     func(err error)
	rest      []byte // an unfinished frame or header
	fragments []byte
}

// The sink side, called by the loop.

type wsSink struct{ w *webSocket }

func (s wsSink) opened(int64) {
	s.w.sock.write(s.w.request)
	s.w.request = nil
}

func (s wsSink) closed(err error) { s.w.ended(err) }

func (s wsSink) received(data []byte, now int64) {
	w := s.w
	if len(w.rest) > 0 {
		w.rest = append(w.rest, data...)
		data = w.rest
	}
	left := w.consume(data, now)
	if w.sock.dead {
		return
	}
	if len(left) == 0 {
		w.rest = w.rest[:0]
		if cap(w.rest) > 64<<10 {
			w.rest = nil
		}
		return
	}
	w.rest = append(w.rest[:0], left...) // moves down where left lies within rest
}

// consume handles all whole frames in data and returns the rest.
func (w *webSocket) consume(data []byte, now int64) []byte {
	if !w.open {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			return data
		}
		if !bytes.HasPrefix(data, []byte("HTTP/1.1 101")) {
			status, _, _ := bytes.Cut(data, []byte("\r\n"))
			w.sock.fail(fmt.Errorf("handshake refused: %s", status))
			return nil
		}
		data = data[end+4:]
		w.open = true
		w.opened(now)
	}
	for !w.sock.dead {
		if len(data) < 2 {
			return data
		}
		size, header := int(data[1]&0x7f), 2
		switch size {
		case 126:
			if len(data) < 4 {
				return data
			}
			size, header = int(binary.BigEndian.Uint16(data[2:])), 4
		case 127:
			if len(data) < 10 {
				return data
			}
			size, header = int(binary.BigEndian.Uint64(data[2:])), 10
		}
		if size < 0 || data[1]&0x80 != 0 {
			w.sock.fail(errors.New("malformed frame from the server"))
			return nil
		}
		if len(data)-header < size {
			return data
		}
		w.frame(data[0]&0x0f, data[0]&0x80 != 0, data[header:header+size], now)
		data = data[header+size:]
	}
	return nil
}

func (w *webSocket) frame(op byte, final bool, payload []byte, now int64) {
	switch op {
	case opBinary, opText, opContinuation:
		if final && len(w.fragments) == 0 {
			w.message(payload, now)
			return
		}
		w.fragments = append(w.fragments, payload...)
		if final {
			whole := w.fragments
			w.fragments = nil
			w.message(whole, now)
		}
	case opPing:
		w.send(opPong, payload)
	case opClose:
		ended := &CloseError{Code: 1005}
		if len(payload) >= 2 {
			ended.Code, ended.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			if !utf8.ValidString(ended.Reason) {
				ended.Reason = "invalid UTF-8"
			}
		}
		w.send(opClose, payload)
		w.sock.fail(ended)
	}
}

// appendFrame appends a client frame with the mask key 0, which is a legal one and leaves the payload as it is.
func appendFrame(to []byte, op byte, payload []byte) []byte {
	to = append(to, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		to = append(to, 0x80|byte(n))
	case n < 1<<16:
		to = append(to, 0x80|126, byte(n>>8), byte(n))
	default:
		to = append(to, 0x80|127)
		to = binary.BigEndian.AppendUint64(to, uint64(n))
	}
	to = append(to, 0, 0, 0, 0)
	return append(to, payload...)
}

func (w *webSocket) send(op byte, payload []byte) {
	if w.open || op == opClose {
		w.sock.write(appendFrame(make([]byte, 0, len(payload)+14), op, payload))
	}
}
