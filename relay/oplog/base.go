package oplog

import "encoding/binary"

// Base says on which state of the store the history of a stored life stands: what lies
// before its first message is the body of that version. Every snapshot begins with one,
// so that compaction never removes it.
type Base struct {
	Store       string // the identity of the store
	Generation  uint64 // of the document
	Version     string // of the body, opaque; empty: nothing was stored
	KeepDeleted bool   // the content of deleted items is kept
	// Covers is the state vector of the body, for those who load it: one that is behind
	// it is not the body that was meant. Nil: not known.
	Covers []byte
}

// keeps is the flags of a base that keeps deleted content. Versions that dropped it all
// the same wrote 1, and refuse this.
const keeps = 2

// AppendBase appends a base.
func AppendBase(dst []byte, b Base) []byte {
	dst = appendString(dst, b.Store)
	dst = binary.LittleEndian.AppendUint64(dst, b.Generation)
	dst = appendString(dst, b.Version)
	flags := byte(0)
	if b.KeepDeleted {
		flags = keeps
	}
	return appendString(append(dst, flags), string(b.Covers))
}

// ReadBase takes a base off. What is not one is ErrMalformed; so is one of flags that
// this version does not know.
func ReadBase(body []byte) (b Base, rest []byte, err error) {
	r := Reader{Rest: body}
	b.Store, b.Generation, b.Version = r.String(), r.Uint64(), r.String()
	flags := r.byte()
	covers := r.String()
	if r.Err != nil || flags > keeps {
		return Base{}, nil, ErrMalformed
	}
	b.KeepDeleted = flags != 0
	if covers != "" {
		b.Covers = []byte(covers)
	}
	return b, r.Rest, nil
}

// Mark is what a Stored message says: everything up to a sequence of the history is in
// the store, as the version of a base.
type Mark struct {
	UpTo   uint64
	Purges bool // what stands up to it may have been removed: the base is needed
	Ends   bool // it is what an ended life leaves behind, for a time
	Base   Base
}

// AppendMark appends a mark.
func AppendMark(dst []byte, m Mark) []byte {
	flags := byte(0)
	if m.Purges {
		flags |= 1
	}
	if m.Ends {
		flags |= 2
	}
	return AppendBase(append(binary.AppendUvarint(dst, m.UpTo), flags), m.Base)
}

// ReadMark reads what AppendMark wrote.
func ReadMark(body []byte) (m Mark, err error) {
	r := Reader{Rest: body}
	m.UpTo = r.Uvarint()
	flags := r.byte()
	if r.Err != nil || flags > 3 {
		return Mark{}, ErrMalformed
	}
	m.Purges, m.Ends = flags&1 != 0, flags&2 != 0
	var rest []byte
	if m.Base, rest, err = ReadBase(r.Rest); len(rest) > 0 {
		err = ErrMalformed
	}
	return m, err
}
