package wire

import "encoding/binary"

// Headroom is what SetAround needs in front of a payload, in bytes.
const Headroom = maxHeader + maxHead

// maxHead is the most that y-websocket's encoding puts before a payload.
const maxHead = 2 + binary.MaxVarintLen64

// KeepAlive is an awareness message about nobody, for clients that give up a connection
// on which no message arrives.
var KeepAlive = Encode(Awareness, []byte{0})

// Encode is a message as y-websocket has it. It is made by one exact allocation.
func Encode(kind Kind, payload []byte) Frame {
	var buf [maxHead]byte
	return NewFrame(kind, appendHead(buf[:0], kind, len(payload)), payload)
}

// encodeAround is Encode in place, for a payload that begins Headroom into buf.
func encodeAround(kind Kind, buf []byte) Frame {
	payload := len(buf) - Headroom
	var space [maxHead]byte
	head := appendHead(space[:0], kind, payload)
	var header [maxHeader]byte
	size := putHeader(&header, len(head)+payload)
	from := Headroom - len(head)
	copy(buf[from:], head)
	from -= size
	copy(buf[from:], header[:size])
	return Frame{Kind: kind, data: buf[from:], at: Headroom - from}
}

// appendHead appends what stands before the payload of n bytes.
func appendHead(b []byte, kind Kind, n int) []byte {
	switch kind {
	case Step1, Step2, Update:
		b = append(b, typeSync, byte(kind-Step1))
	case Awareness:
		b = append(b, typeAwareness)
	case PermissionDenied:
		b = append(b, typeAuth, authPermissionDenied)
	case SyncStatus:
		b = append(b, typeSyncStatus)
	default:
		panic("no message of a server: " + kind.String())
	}
	return binary.AppendUvarint(b, uint64(n))
}
