package wire

import (
	"strings"
	"unicode/utf8"
	"unique"
)

// The wire of @hocuspocus/provider, versions 2 to 4: several documents on one socket, each
// message behind the address of its document. The address is the document's name, or
// that, U+0000 and the id of one of several sessions in the document.

const (
	hocuspocusQueryAwareness = 3
	hocuspocusStateless      = 5
	hocuspocusBroadcast      = 6 // between its servers; from a client it is an attempt at something
	hocuspocusLeave          = 7
	hocuspocusSyncStatus     = 8
	hocuspocusPing           = 9 // without an address, like the pong
	hocuspocusPong           = 10

	authToken   = 0
	authDenied  = 1
	authGranted = 2
)

const (
	// maxAddress bounds an address, in bytes: a document's name of 255 characters, and a
	// session's id.
	maxAddress = 4*255 + 1 + maxSessionID
	// maxSessionID bounds the id of a session behind the name, in bytes.
	maxSessionID = 64
)

// AddressedTo is the document's name in an address.
func AddressedTo(address string) (name string) {
	name, _, _ = strings.Cut(address, "\x00")
	return name
}

// DecodeHocuspocus reads the message of one WebSocket frame, and the address that it is
// for, which like the payload is a part of the frame. A ping or pong has no address. What
// is framed well and unknown is Unknown.
func DecodeHocuspocus(frame []byte) (address []byte, m Received, err error) {
	if len(frame) == 1 {
		switch frame[0] {
		case hocuspocusPing:
			return nil, Received{Kind: Ping}, nil
		case hocuspocusPong:
			return nil, Received{Kind: Pong}, nil
		}
	}
	address, kind, rest, err := HocuspocusHead(frame)
	if err != nil {
		return nil, Received{}, err
	}
	switch m.Kind = kind; kind {
	case Step1, Step2, Update, Awareness, Token, Stateless:
		m.Payload, rest, err = Bytes(rest)
		m.Versioned = kind == Token && len(rest) > 0
	}
	return address, m, err
}

// HocuspocusHead reads what stands before a message's payload and its length. The frame
// may be the beginning of one.
func HocuspocusHead(frame []byte) (address []byte, kind Kind, rest []byte, err error) {
	address, rest, err = Bytes(frame)
	if err != nil {
		return nil, Unknown, nil, err
	}
	if len(address) == 0 || len(address) > maxAddress || !utf8.Valid(address) {
		return nil, Unknown, nil, ErrMalformed
	}
	number, rest, err := Uvarint(rest)
	if err != nil {
		return nil, Unknown, nil, err
	}
	switch number {
	case typeSync:
		sub, rest, err := Uvarint(rest)
		if err != nil {
			return nil, Unknown, nil, err
		}
		if sub > 2 {
			return address, Unknown, nil, nil
		}
		return address, Step1 + Kind(sub), rest, nil
	case typeAuth:
		sub, rest, err := Uvarint(rest)
		if err != nil {
			return nil, Unknown, nil, err
		}
		if sub != authToken {
			return address, Unknown, nil, nil
		}
		return address, Token, rest, nil
	case typeAwareness:
		kind = Awareness
	case hocuspocusQueryAwareness:
		kind = QueryAwareness
	case hocuspocusStateless:
		kind = Stateless
	case hocuspocusLeave:
		kind = Leave
	case hocuspocusBroadcast:
		return nil, Unknown, nil, ErrMalformed
	}
	return address, kind, rest, nil
}

// IsHocuspocus returns the kind of a complete message that Hocuspocus' provider begins
// with: Token, or Step1 from version 2 without a token; else Unknown. No message that a
// client of y-websocket begins with has that form.
func IsHocuspocus(frame []byte) Kind {
	_, kind, rest, err := HocuspocusHead(frame)
	if err != nil || kind != Token && kind != Step1 {
		return Unknown
	}
	_, rest, err = Bytes(rest)
	if err == nil && kind == Token && len(rest) > 0 { // version 4 says which it is
		_, rest, err = Bytes(rest)
	}
	if err != nil || len(rest) > 0 {
		return Unknown
	}
	return kind
}

// Hocuspocus encodes messages for one address. What y-websocket calls a denied permission
// is a message that was not taken.
//
// Each member of a document has its own, and each message to them compares it with the one
// that it was encoded in: so equal addresses are one pointer.
type Hocuspocus struct{ address unique.Handle[string] }

// NewHocuspocus makes the encoding for an address.
func NewHocuspocus(address string) Hocuspocus { return Hocuspocus{unique.Make(address)} }

// Shared is whether the address is the document's name alone.
func (h Hocuspocus) Shared() bool { return !strings.Contains(h.address.Value(), "\x00") }

// Encode makes one allocation, unless the address is long.
func (h Hocuspocus) Encode(kind Kind, payload []byte) Frame {
	var buf [128]byte
	head := AppendBytes(buf[:0], []byte(h.address.Value()))
	switch kind {
	case Step1, Step2, Update:
		head = append(head, typeSync, byte(kind-Step1))
	case Awareness:
		head = append(head, typeAwareness)
	case Token:
		return NewFrame(kind, append(head, typeAuth, authToken), nil)
	case Denied:
		head = append(head, typeAuth, authDenied)
	case Granted:
		head = append(head, typeAuth, authGranted)
	case Stateless:
		head = append(head, hocuspocusStateless)
	case Leave:
		head = append(head, hocuspocusLeave)
	case SyncStatus:
		return NewFrame(kind, append(head, hocuspocusSyncStatus, 1), nil)
	case PermissionDenied:
		return NewFrame(kind, append(head, hocuspocusSyncStatus, 0), nil)
	default:
		panic("no message of a server: " + kind.String())
	}
	return NewFrame(kind, appendUvarint(head, len(payload)), payload)
}
