package ystore

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"
)

// Encode returns the whole document as one update. The result is kept and
// shared until the document changes.
func (s *Store) Encode() []byte {
	if s.full == nil {
		s.full = s.EncodeBehind(0, nil)
	}
	return s.full
}

// EncodeBehind is Encode with a number of bytes left free in front, in a slice that is
// the caller's: in the memory of buf, if that is large enough, else in a new one. If buf is
// not nil, there is room in that for the document to grow.
func (s *Store) EncodeBehind(room int, buf []byte) []byte {
	x := s.change()
	defer x.end()
	x.sweepAll()
	return x.encode(nil, room, buf)
}

// Diff returns what a client with the given state vector lacks, and the whole
// delete set: state vectors do not show deletions. The error wraps an
// *UpdateError. The result may be that of Encode.
func (s *Store) Diff(stateVector []byte) ([]byte, error) {
	sv, err := readStateVector(stateVector)
	if err != nil {
		return nil, err
	}
	if len(sv) == 0 {
		return s.Encode(), nil
	}
	x := s.change()
	defer x.end()
	return x.encode(sv, 0, nil), nil
}

func readStateVector(b []byte) ([]id, error) {
	c := checker{b: b}
	sv := c.stateVector()
	if c.err != nil {
		return nil, fmt.Errorf("state vector: %w", c.err)
	}
	return sv, nil
}

// StateVector returns the encoded state vector: for each client the first clock
// that is missing.
func (s *Store) StateVector() []byte {
	return s.vector(func(r *run) uint64 { return r.next })
}

func (rs *runs) vector(clock func(*run) uint64) []byte {
	n := 0
	for _, r := range rs.ordered() {
		if clock(r) > 0 {
			n++
		}
	}
	b := appendUvarint(make([]byte, 0, 1+n*8), uint64(n))
	for _, r := range rs.order {
		if c := clock(r); c > 0 {
			b = appendUvarint(appendUvarint(b, r.client), c)
		}
	}
	return b
}

// encode writes an update for a client with the given state vector, which is
// sorted, behind so many bytes that are left free: see EncodeBehind.
func (x *change) encode(sv []id, room int, buf []byte) []byte {
	spans := x.spans[:0]
	deletes := x.deletes()
	size := len(deletes) + 10
	for _, r := range x.ordered() {
		if from, ok := r.since(sv); ok {
			spans = append(spans, span{r.client, from, r.tail})
			size += 26 + r.size(from)
		}
		for len(sv) > 0 && sv[0].client >= r.client {
			sv = sv[1:]
		}
	}
	x.spans = spans
	if size += room; cap(buf) < size {
		if buf != nil {
			size += size / 8
		}
		buf = uncleared(size)
	}
	b := buf[:room]
	clear(b)
	b = x.appendBlocks(b, spans)
	return append(b, deletes...)
}

// uncleared returns an empty slice with room for n bytes that hold anything. Clearing
// those of a large encoding would take almost as long as writing them, a tenth of
// BenchmarkEncode, and make has no way around it; strings.Builder has. Nobody else can know the string that is asked for
// its bytes here, so that they change is seen by nobody.
func uncleared(n int) []byte {
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(b.String()), n)[:0]
}

// since returns the first id of a struct that a client with the state vector lacks. The
// vector has no higher client than the run's left before its entry.
func (r *run) since(sv []id) (from uint64, ok bool) {
	for len(sv) > 0 && sv[0].client > r.client {
		sv = sv[1:]
	}
	from = r.head
	if len(sv) > 0 && sv[0].client == r.client && sv[0].clock > from {
		from = sv[0].clock
	}
	if from >= r.tail {
		return 0, false
	}
	l := r.leafAt(from)
	i := l.find(from)
	for !known(l.ents[i].kind()) {
		from = l.endOf(i)
		if i++; i == len(l.ents) {
			l, i = l.next, 0
		}
	}
	if at := l.ents[i].clock(); at < from && l.ents[i].kind() == kindString {
		// A client that knows half of a surrogate pair gets the whole again: cut
		// there, both halves would become U+FFFD.
		var it item
		l.item(i, &it)
		if _, inPair := utf16Offset(it.content, from-at); inPair {
			from--
		}
	}
	return from, true
}

// size is the number of bytes of the leaves from the given clock on.
func (r *run) size(from uint64) (n int) { return r.sizeUpTo(from, math.MaxInt) }

// sizeUpTo is size that stops counting at most.
func (r *run) sizeUpTo(from uint64, most int) (n int) {
	l := r.leafAt(from)
	n = len(l.buf) - l.offset(l.find(from)) + 20
	for l = l.next; l != nil && n < most; l = l.next {
		n += len(l.buf)
	}
	return n
}

// appendBlocks writes the structs of the ranges, which are sorted, begin with a
// struct and end with one.
func (rs *runs) appendBlocks(b []byte, spans []span) []byte {
	blocks := uint64(0)
	for i := range spans {
		if i == 0 || spans[i].client != spans[i-1].client {
			blocks++
		}
	}
	w := writer{b: appendUvarint(b, blocks)}
	inOrder := rs.order // where most are written, walking beside them is faster than looking each up
	if uint64(len(rs.list)) > 4*blocks || len(rs.order) < len(rs.list) {
		inOrder = nil
	}
	for i := 0; i < len(spans); {
		first := spans[i]
		for len(inOrder) > 0 && inOrder[0].client > first.client {
			inOrder = inOrder[1:]
		}
		var r *run
		if len(inOrder) > 0 {
			r = inOrder[0]
		} else {
			r = rs.run(first.client)
		}
		body := len(w.b)
		for w.structs = 0; i < len(spans) && spans[i].client == first.client; i++ {
			w.span(r, spans[i].from, spans[i].to)
		}
		var head [3 * binary.MaxVarintLen64]byte
		h := appendUvarint(head[:0], w.structs)
		h = appendUvarint(h, first.client)
		h = appendUvarint(h, first.from)
		w.b = slices.Insert(w.b, body, h...)
	}
	return w.b
}

// encodeFresh writes what the update that is being applied brought.
func (x *change) encodeFresh() []byte {
	x.fresh = union(x.fresh)
	x.gone = union(x.gone)
	return x.appendGone(x.appendBlocks(nil, x.fresh))
}

// encodeSpans writes structs, and what the update that is being applied deleted.
func (x *change) encodeSpans(spans []span) []byte {
	x.gone = union(x.gone)
	return x.appendGone(x.appendBlocks(nil, union(spans)))
}

// appendGone appends the delete set of the update that is being applied.
func (x *result) appendGone(b []byte) []byte {
	gone := x.gone
	clients := uint64(0)
	for i := range gone {
		if i == 0 || gone[i].client != gone[i-1].client {
			clients++
		}
	}
	b = appendUvarint(b, clients)
	for len(gone) > 0 {
		n := 1
		for n < len(gone) && gone[n].client == gone[0].client {
			n++
		}
		b = appendUvarint(appendUvarint(b, gone[0].client), uint64(n))
		for _, d := range gone[:n] {
			b = appendUvarint(appendUvarint(b, d.from), d.to-d.from)
		}
		gone = gone[n:]
	}
	return b
}

// allNew reports whether an update brought all that it holds.
func (x *result) allNew(sum *summary) bool {
	return length(x.fresh) == sum.newIDs && length(x.gone) >= sum.deletes
}

func length(spans []span) (n uint64) {
	for _, d := range spans {
		n += d.to - d.from
	}
	return n
}

// deletes returns the encoded delete set, which is kept until it changes. It
// follows from the tombstones.
func (s *Store) deletes() []byte {
	if s.deletesEnc != nil {
		return s.deletesEnc
	}
	// Ranges are mostly a few bytes; the count in front is inserted when known.
	b := make([]byte, 0, 32+4*s.totals.deleted)
	clients := uint64(0)
	for _, r := range s.ordered() {
		begin := len(b)
		var ranges uint64
		if b, ranges = r.appendDeletes(b); ranges == 0 {
			continue
		}
		clients++
		var head [2 * binary.MaxVarintLen64]byte
		h := appendUvarint(appendUvarint(head[:0], r.client), ranges)
		b = slices.Insert(b, begin, h...)
	}
	var head [binary.MaxVarintLen64]byte
	b = slices.Insert(b, 0, appendUvarint(head[:0], clients)...)
	s.deletesEnc = slices.Clip(b)
	return s.deletesEnc
}

// appendDeletes appends the deleted ranges, as long as they can be, and returns
// their number.
func (r *run) appendDeletes(b []byte) (_ []byte, n uint64) {
	var from, to uint64
	for l := r.first; l != nil; l = l.next {
		if l.deleted == 0 {
			continue
		}
		for i, e := range l.ents {
			if !e.deleted() {
				continue
			}
			if at := e.clock(); at != to {
				if from < to {
					b = appendUvarint(appendUvarint(b, from), to-from)
					n++
				}
				from = at
			}
			to = l.endOf(i)
		}
	}
	if from < to {
		b = appendUvarint(appendUvarint(b, from), to-from)
		n++
	}
	return b, n
}
