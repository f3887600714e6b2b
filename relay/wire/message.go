// Package wire has the messages of y-protocols
// (https://github.com/yjs/y-protocols/blob/master/PROTOCOL.md), and how they are encoded
// on the wires that clients speak: as WebSocket frames that are ready to be written to
// any number of sockets.
package wire

import (
	"encoding/binary"
	"errors"
)

// Kind tells the messages apart.
type Kind uint8

// The messages. Unknown is anything else that is framed well; it is ignored, so that
// newer clients keep working.
const (
	Unknown Kind = iota
	Step1        // the state vector of the sender
	Step2        // the structs and deletions that the receiver lacks
	Update       // an update as it happened
	Awareness
	QueryAwareness
	SyncStatus // a question whether everything sent before is saved, returned as it came once it is

	PermissionDenied // to a client: what it sent was dropped, and why

	// Of Hocuspocus only.
	Token     // a client's, to be let into the document; to a client: to send it again
	Granted   // to a client: the token is good, for "readonly" or "read-write"
	Denied    // to a client: it is not in the document, and why
	Leave     // a client leaves the document, or is to, and why
	Stateless // a text that is passed on and not kept; see NewStateless
	Ping
	Pong
)

// String names the message in logs.
func (k Kind) String() string {
	return [...]string{"unknown", "SyncStep1", "SyncStep2", "update", "awareness", "awareness query", "question", "permission denied",
		"token", "granted", "denied", "leave", "stateless", "ping", "pong"}[k]
}

// Received is a message of a client. Payload aliases the frame it came from.
type Received struct {
	Kind      Kind
	Versioned bool // a Token that says which provider sent it, as from version 4 on
	Payload   []byte
}

// ErrMalformed is returned for a frame that ends inside a message or holds a
// number that is too large.
var ErrMalformed = errors.New("malformed y-protocols message")

const (
	typeSync           = 0
	typeAwareness      = 1
	typeAuth           = 2
	typeQueryAwareness = 3
	typeStateless      = 121 // between nodes only: of a client of Hocuspocus whom one carries to the other
	typeSyncStatus     = 102 // of y-sweet: https://github.com/jamsocket/y-sweet, js-pkg/client/src/provider.ts

	authPermissionDenied = 0
)

// Decode reads the message of one WebSocket frame. Bytes behind the message are
// ignored, as the clients do.
func Decode(frame []byte) (Received, error) {
	kind, rest, err := Uvarint(frame)
	if err != nil {
		return Received{}, err
	}
	var m Received
	switch kind {
	case typeSync:
		sub, body, err := Uvarint(rest)
		if err != nil {
			return Received{}, err
		}
		if sub > 2 {
			return Received{}, nil
		}
		m.Kind, rest = Step1+Kind(sub), body
	case typeAwareness:
		m.Kind = Awareness
	case typeQueryAwareness:
		return Received{Kind: QueryAwareness}, nil
	case typeSyncStatus:
		m.Kind = SyncStatus
	case typeStateless:
		if text, _, err := Bytes(rest); err == nil {
			return Received{Kind: Stateless, Payload: text}, nil
		}
		return Received{}, nil
	default:
		return Received{}, nil
	}
	m.Payload, _, err = Bytes(rest)
	return m, err
}

// BeginsStep2 reports whether the message that begins so is a SyncStep2, which may be
// larger than others. It need not be there as a whole.
func BeginsStep2(head []byte) bool {
	return len(head) > 1 && head[0] == typeSync && Step1+Kind(head[1]) == Step2
}

// Uvarint reads a lib0 varuint, which is encoded as Go's uvarints are. Values
// above 2^53-1 are malformed: JavaScript cannot hold them.
func Uvarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<53-1 {
		return 0, nil, ErrMalformed
	}
	return v, b[n:], nil
}

// Bytes reads a byte array that is preceded by its length.
func Bytes(b []byte) (value, rest []byte, err error) {
	n, rest, err := Uvarint(b)
	if err != nil || n > uint64(len(rest)) {
		return nil, nil, ErrMalformed
	}
	return rest[:n:n], rest[n:], nil
}

func appendUvarint(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// AppendBytes appends a byte array preceded by its length.
func AppendBytes(dst, value []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}
