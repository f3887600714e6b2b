package oplog

import "encoding/binary"

// Message is what the history stream captures: updates, a snapshot, or a
// part of either.
type Message struct {
	Format  Format
	Room    ID
	Counter uint64
	Kind    Kind
	Part    Part   // of a Partial
	Body    []byte // aliases the message
}

// Part places a piece in its group. A group is named by its room and the
// counter of its first piece.
type Part struct {
	First        uint64
	Index, Count int
	Kind         Kind // of the whole
}

// maxParts bounds a group, so that a hostile count allocates nothing.
const maxParts = 1 << 16

// Append appends a message with a whole body.
func (f Format) Append(dst []byte, id ID, k Kind, counter uint64, body []byte) []byte {
	dst = f.header(dst, k, id)
	dst = binary.AppendUvarint(dst, counter)
	return append(dst, body...)
}

// AppendPart appends a message with a piece of a body.
func (f Format) AppendPart(dst []byte, id ID, counter uint64, p Part, body []byte) []byte {
	dst = f.header(dst, Partial, id)
	for _, v := range [...]uint64{counter, p.First, uint64(p.Index), uint64(p.Count)} {
		dst = binary.AppendUvarint(dst, v)
	}
	return append(append(dst, byte(p.Kind)), body...)
}

// Read reads a message of the log. Errors are *VersionError, *KindError or ErrMalformed.
func Read(b []byte) (m Message, err error) {
	var rest []byte
	m.Kind, m.Room, rest, err = ReadHeader(b)
	if err != nil {
		return m, err
	}
	m.Format, b = Format(b[0]), rest
	r := Reader{Rest: b}
	m.Counter = r.Uvarint()
	switch m.Kind {
	case Updates, Snapshot:
	case Seed, Stored:
		if m.Format != Kept {
			return m, ErrMalformed
		}
	case Partial:
		m.Part.First = r.Uvarint()
		index, count := r.Uvarint(), r.Uvarint()
		m.Part.Kind = Kind(r.byte())
		if r.Err == nil && m.Part.Kind > Stored {
			return m, &KindError{m.Part.Kind}
		}
		if count > maxParts || index >= count || m.Part.Kind != Updates && m.Part.Kind != Snapshot {
			return m, ErrMalformed
		}
		m.Part.Index, m.Part.Count = int(index), int(count)
	default:
		if m.Kind > Stored {
			return m, &KindError{m.Kind}
		}
		return m, ErrMalformed
	}
	m.Body = r.Rest
	return m, r.Err
}

// Split cuts a body into pieces of at most size bytes and calls each in order.
func Split(body []byte, size int, each func(index, count int, piece []byte)) {
	count := max(1, (len(body)+size-1)/size)
	for i := range count {
		each(i, count, body[i*size:min((i+1)*size, len(body))])
	}
}
