package wire

import "encoding/binary"

// Frame is one message as a whole binary WebSocket frame from server to client (RFC
// 6455, section 5.2: final, unmasked). It is written to any number of sockets: nobody
// may change its bytes.
type Frame struct {
	Kind Kind
	data []byte
	at   int // where the payload begins in data
}

// NewFrame makes a frame of what an encoding puts before a message's payload, and the
// payload, by one exact allocation.
func NewFrame(kind Kind, head, payload []byte) Frame {
	n := len(head) + len(payload)
	var header [maxHeader]byte
	size := putHeader(&header, n)
	data := make([]byte, 0, size+n)
	data = append(data, header[:size]...)
	data = append(data, head...)
	return Frame{Kind: kind, data: append(data, payload...), at: size + len(head)}
}

// Bytes is the frame as it is written.
func (f Frame) Bytes() []byte { return f.data }

// Payload is the message's, without what an encoding puts before it.
func (f Frame) Payload() []byte { return f.data[f.at:len(f.data):len(f.data)] }

// Content is what the WebSocket frame holds.
func (f Frame) Content() []byte {
	switch f.data[1] {
	case 126:
		return f.data[4:]
	case 127:
		return f.data[maxHeader:]
	default:
		return f.data[2:]
	}
}

// maxHeader is the size of the longest WebSocket header of a server.
const maxHeader = 10

// putHeader writes the WebSocket header of a message of n bytes, and returns its size.
func putHeader(header *[maxHeader]byte, n int) (size int) {
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
	return maxHeader
}

// Encoding is how messages look on a wire other than y-websocket's, of which nil stands
// for. Equal values encode alike.
type Encoding interface {
	Encode(kind Kind, payload []byte) Frame
	// Shared reports whether more than one client of a document may use an encoding
	// that is equal to this one.
	Shared() bool
}

// Message is a message to the members of a document. It is encoded once for each wire
// that they speak, when the first of them asks. It is used by one goroutine at a time; a
// member that it is handed to keeps frames of it, never the message.
type Message struct {
	// Own says that the message was made for one member, so that its bytes are in memory
	// for nobody else.
	Own bool
	// From is the member whose client sent it; nil: another node's client, several, or none.
	// What a client sent at once may be written together.
	From any

	frame Frame // of y-websocket, which holds the payload

	// What the first who asked for another encoding that is shared was given.
	encoding Encoding
	other    Frame
}

// NewMessage makes a message with a copy of the payload.
func NewMessage(kind Kind, payload []byte) *Message {
	m := new(Message)
	m.Set(kind, payload)
	return m
}

// NewStateless makes a stateless message, for which y-websocket has no frame: it must not
// be sent there.
func NewStateless(text []byte) *Message {
	return &Message{frame: NewFrame(Stateless, nil, text)}
}

// EncodeStateless is a stateless message between nodes, of which one carries the client
// to the other. Clients of y-websocket ignore it.
func EncodeStateless(text []byte) Frame {
	return NewFrame(Stateless, appendUvarint([]byte{typeStateless}, len(text)), text)
}

// Set makes the message one with a copy of the payload.
func (m *Message) Set(kind Kind, payload []byte) { *m = Message{frame: Encode(kind, payload)} }

// SetAround is Set without copying: the payload begins Headroom into buf, and the frame
// is made in place. Nobody else may use these bytes.
func (m *Message) SetAround(kind Kind, buf []byte) { *m = Message{frame: encodeAround(kind, buf)} }

// Kind is the message's.
func (m *Message) Kind() Kind { return m.frame.Kind }

// Payload is shared, and never changed.
func (m *Message) Payload() []byte { return m.frame.Payload() }

// In returns the message in an encoding; nil is that of y-websocket.
func (m *Message) In(e Encoding) Frame {
	switch {
	case e == nil:
		return m.frame
	case m.encoding == e:
		return m.other
	case m.encoding != nil || !e.Shared():
		return e.Encode(m.Kind(), m.Payload())
	}
	m.encoding, m.other = e, e.Encode(m.Kind(), m.Payload())
	return m.other
}
