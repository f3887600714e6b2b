package wire

import (
	"encoding/binary"
)

// Frame is a whole binary WebSocket frame from server to client (RFC 6455,
// section 5.2: final, unmasked), holding one message. It is encoded once and
// written to every member of a room; nobody may change its bytes.
type Frame []byte

// Ready-made frames without content.
var (
	// KeepAlive is an awareness message about nobody. y-websocket drops a
	// connection on which no data frame arrived for 30 s.
	KeepAlive = newFrame([]byte{typeAwareness, 1, 0}, nil)
	// Ping is an empty WebSocket ping.
	Ping = Frame{0x89, 0}
)

// Step1Frame asks the client for what this state vector lacks.
func Step1Frame(stateVector []byte) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeSync, 0}, uint64(len(stateVector))), stateVector)
}

// Step2Frame answers a SyncStep1.
func Step2Frame(update []byte) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeSync, 1}, uint64(len(update))), update)
}

// Headroom is what Step2FrameAround needs in front of an update, in bytes.
const Headroom = 10 + 2 + binary.MaxVarintLen64

// Step2FrameAround is Step2Frame without copying: the update begins Headroom bytes
// into buf, and the frame is made in place. Nobody else may use these bytes.
func Step2FrameAround(buf []byte) Frame {
	update := len(buf) - Headroom
	head := binary.AppendUvarint([]byte{typeSync, 1}, uint64(update))
	var header [10]byte
	size := putHeader(&header, len(head)+update)
	from := Headroom - len(head)
	copy(buf[from:], head)
	from -= size
	copy(buf[from:], header[:size])
	return buf[from:]
}

// UpdateFrame passes an update on.
func UpdateFrame(update []byte) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeSync, 2}, uint64(len(update))), update)
}

// AwarenessFrame passes an encoded awareness update on.
func AwarenessFrame(update []byte) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeAwareness}, uint64(len(update))), update)
}

// PermissionDeniedFrame tells a read-only client that its edit was dropped.
func PermissionDeniedFrame(reason string) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeAuth, authPermissionDenied}, uint64(len(reason))), []byte(reason))
}

// SyncStatusFrame returns a client's question whether all that it sent is saved,
// as the answer that it is.
func SyncStatusFrame(question []byte) Frame {
	return newFrame(binary.AppendUvarint([]byte{typeSyncStatus}, uint64(len(question))), question)
}

// newFrame makes one exact allocation for the WebSocket header, the message's
// header and its body.
func newFrame(head, body []byte) Frame {
	n := len(head) + len(body)
	var header [10]byte
	size := putHeader(&header, n)
	f := make(Frame, 0, size+n)
	f = append(f, header[:size]...)
	f = append(f, head...)
	return append(f, body...)
}

// putHeader writes the WebSocket header of a message of n bytes (RFC 6455, section
// 5.2), and returns its size.
func putHeader(header *[10]byte, n int) (size int) {
	header[0] = 0x82
	switch {
	case n < 126:
		header[1] = byte(n)
		return 2
	case n < 1<<16:
		header[1] = 126
		binary.BigEndian.PutUint16(header[2:], uint16(n))
		return 4
	}
	header[1] = 127
	binary.BigEndian.PutUint64(header[2:], uint64(n))
	return 10
}

// Message returns the y-protocols message in the frame, without the WebSocket
// header.
func (f Frame) Message() []byte {
	switch f[1] {
	case 126:
		return f[4:]
	case 127:
		return f[10:]
	default:
		return f[2:]
	}
}

// Update returns the Yjs update that the frame carries, and whether it carries
// one.
func (f Frame) Update() ([]byte, bool) {
	m, err := Decode(f.Message())
	return m.Payload, err == nil && m.Kind == Update
}
