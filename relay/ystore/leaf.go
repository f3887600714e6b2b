package ystore

import "slices"

// Sizes of leaves. Edits move bytes within one leaf, so these bound what an
// edit costs.
const (
	maxEntries   = 64
	maxLeafBytes = 4096
	// maxPiece bounds the content of one entry, where it can be divided: longer
	// strings are kept in pieces and joined when they are written out.
	maxPiece = 1024
)

// entry is one struct of a leaf: where it begins in clocks and in bytes.
type entry struct {
	word uint64 // clock<<8 | continues<<7 | keyed<<6 | kept<<5 | kind
	off  uint32
	lineage
}

const (
	continuesBit = 0x80
	keyedBit     = 0x40
	keptBit      = 0x20
)

func (e entry) clock() uint64 { return e.word >> 8 }
func (e entry) kind() byte    { return byte(e.word) & kindBits }

// kept reports that the entry is deleted, and has its content nevertheless.
func (e entry) kept() bool { return e.word&keptBit != 0 }

// deleted reports whether the entry's ids are in the delete set.
func (e entry) deleted() bool { return deletedSorts>>(e.word&(keptBit|kindBits))&1 != 0 }

// deletedSorts has a bit for each kind that is deleted, and for all that are kept.
const deletedSorts uint64 = 1<<kindGC | 1<<kindDeleted | 1<<kindGone | (1<<32-1)<<keptBit

// keyed reports that the entry is known to lie under a key of its type.
func (e entry) keyed() bool { return e.word&keyedBit != 0 }

// mark says where the entry lies.
func (e *entry) mark(it *item) {
	e.lineage = it.lineage
	e.word &^= keyedBit
	if it.keyed {
		e.word |= keyedBit
	}
}

// continues reports that the entry is one struct with the entry before it, and
// kept apart only because of its size or because a leaf ends there.
func (e entry) continues() bool { return e.word&continuesBit != 0 }

// leaf holds consecutive structs of one client in their wire form, so that
// writing them out is a copy. Gaps are entries without bytes.
type leaf struct {
	ents       []entry
	buf        []byte
	end        uint64 // clock behind the last entry
	prev, next *leaf

	// How many of the entries are of a sort.
	continued, deleted, gaps int16

	given bool // buf lies in what the store was given, and must not be changed: see given.go
}

func (l *leaf) start() uint64 { return l.ents[0].clock() }

func (l *leaf) endOf(i int) uint64 {
	if i+1 < len(l.ents) {
		return l.ents[i+1].clock()
	}
	return l.end
}

// offset is where entry i begins in buf; i may be len(ents).
func (l *leaf) offset(i int) int {
	if i < len(l.ents) {
		return int(l.ents[i].off)
	}
	return len(l.buf)
}

// find returns the index of the entry that holds clock, which the leaf has.
func (l *leaf) find(clock uint64) int {
	lo, hi := 0, len(l.ents)
	for hi-lo > 1 {
		if mid := int(uint(lo+hi) >> 1); l.ents[mid].clock() <= clock {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// item takes entry i apart. The item aliases the leaf.
func (l *leaf) item(i int, it *item) {
	p := l.head(i, it)
	switch it.kind {
	case kindDeleted, kindGC, kindSkip, kindGone:
		return
	case kindString, kindAny, kindJSON:
		p = skipUvarint(l.buf, p)
	}
	it.content = l.buf[p:l.offset(i+1)]
}

// head is item without the content, which begins at the position that is returned.
func (l *leaf) head(i int, it *item) int {
	e := l.ents[i]
	it.clock = e.clock()
	it.len = l.endOf(i) - it.clock
	it.kind, it.kept, it.continues, it.lineage, it.keyed = e.kind(), e.kept(), e.continues(), e.lineage, e.keyed()
	it.content = nil
	if !known(it.kind) || it.kind == kindGC {
		it.info, it.form = it.kind, parentImplied
		return 0
	}
	return it.decodeHead(l.buf, int(e.off))
}

// joins reports whether it, which begins where entry i ends, is one struct with
// that entry (rule: same kind, it hangs on the last id to its left, and both
// have the same right origin). at is where the entry's length is written.
func (l *leaf) joins(client uint64, i int, it *item) (at int, ok bool) {
	e := l.ents[i]
	if e.kind() != it.kind || e.kept() != it.kept {
		return 0, false
	}
	at = int(e.off)
	switch it.kind {
	case kindGC:
		return at + 1, true
	case kindSkip, kindGone:
		return at, true
	case kindDeleted, kindString, kindAny, kindJSON:
	default:
		return 0, false
	}
	if it.info&hasOrigin == 0 || it.origin.clock+1 != it.clock || it.origin.client != client {
		return 0, false
	}
	b, info := l.buf, l.buf[at]
	if (info^it.info)&hasRight != 0 {
		return 0, false
	}
	if (e.keyed() || it.keyed) && it.kind != kindDeleted {
		return 0, false // values of a key: the next one deletes the one before it
	}
	if info&hasRight == 0 {
		return skipHead(b, at), true
	}
	at++
	if info&hasOrigin != 0 {
		at = skipUvarint(b, skipUvarint(b, at))
	}
	var right id
	right.client, at = uvarint(b, at)
	right.clock, at = uvarint(b, at)
	return at, right == it.right
}

// push appends it, which begins where the leaf ends: into the last entry when
// the two are one struct, else as an entry of its own. It reports whether an
// entry was added. Content above maxPiece must have been divided before.
func (l *leaf) push(client uint64, it *item) bool {
	it.continues = false
	if n := len(l.ents); n > 0 {
		if at, ok := l.joins(client, n-1, it); ok {
			if l.extend(n-1, at, it) {
				l.end = it.end()
				if e := &l.ents[n-1]; !e.located() || it.keyed {
					e.mark(it)
				}
				return false
			}
			it.continues = true
		}
	}
	l.add(it)
	return true
}

// extend joins it into the last entry i, whose length is written at the given
// place. It reports false when the two together would be too long.
func (l *leaf) extend(i, at int, it *item) bool {
	n := it.end() - l.ents[i].clock()
	switch it.kind {
	case kindSkip, kindGone:
		return true
	case kindGC, kindDeleted:
		l.buf = appendUvarint(l.buf[:at], n)
		return true
	}
	begin := skipUvarint(l.buf, at)
	size := len(l.buf) - begin + len(it.content)
	if size > maxPiece {
		return false
	}
	if it.kind == kindString {
		n = uint64(size)
	}
	if grow := uvarintLen(n) - (begin - at); grow > 0 {
		l.buf = slices.Insert(l.buf, at, make([]byte, grow)...)
	}
	appendUvarint(l.buf[:at], n)
	l.buf = append(l.buf, it.content...)
	return true
}

// add appends it as an entry of its own.
func (l *leaf) add(it *item) {
	word := it.clock<<8 | uint64(it.kind)
	if it.continues {
		word |= continuesBit
	}
	if it.keyed {
		word |= keyedBit
	}
	if it.kept {
		word |= keptBit
	}
	e := entry{word, uint32(len(l.buf)), it.lineage}
	l.ents = append(l.ents, e)
	l.buf = it.append(l.buf)
	l.end = it.end()
	l.tally(e, 1)
}

// addRaw appends entry i of another leaf unchanged.
func (l *leaf) addRaw(from *leaf, i int) {
	e := from.ents[i]
	b := from.buf[e.off:from.offset(i+1)]
	e.off = uint32(len(l.buf))
	l.ents = append(l.ents, e)
	l.buf = append(l.buf, b...)
	l.end = from.endOf(i)
	l.tally(e, 1)
}

// copyOf puts entries lo to hi of another leaf in place of what the leaf holds, in memory
// of its own with a little room.
func (l *leaf) copyOf(from *leaf, lo, hi int) {
	begin, end, n := from.offset(lo), from.offset(hi), hi-lo
	l.ents = append(make([]entry, 0, n+n/8), from.ents[lo:hi]...)
	l.buf = append(make([]byte, 0, end-begin+(end-begin)/8), from.buf[begin:end]...)
	l.end = from.endOf(hi - 1)
	l.continued, l.deleted, l.gaps = 0, 0, 0
	for i := range l.ents {
		l.ents[i].off -= uint32(begin)
		l.tally(l.ents[i], 1)
	}
}

func (l *leaf) tally(e entry, by int16) {
	if e.continues() {
		l.continued += by
	}
	if e.deleted() {
		l.deleted += by
	}
	if !known(e.kind()) {
		l.gaps += by
	}
}

// replace puts the entries of t in place of l's entries lo to hi.
func (l *leaf) replace(lo, hi int, t *leaf) {
	for _, e := range l.ents[lo:hi] {
		l.tally(e, -1)
	}
	from, to := l.offset(lo), l.offset(hi)
	shift := len(t.buf) - (to - from)
	for i := hi; i < len(l.ents); i++ {
		l.ents[i].off = uint32(int(l.ents[i].off) + shift)
	}
	for i := range t.ents {
		t.ents[i].off += uint32(from)
		l.tally(t.ents[i], 1)
	}
	l.buf = slices.Replace(l.buf, from, to, t.buf...)
	l.ents = slices.Replace(l.ents, lo, hi, t.ents...)
}

// reset empties the leaf and keeps its memory.
func (l *leaf) reset() {
	*l = leaf{ents: l.ents[:0], buf: l.buf[:0]}
}

// takes reports whether the next struct belongs into this leaf.
func (l *leaf) takes(it *item) bool {
	n := len(l.ents)
	return n == 0 || n < maxEntries && len(l.buf)+it.size() <= maxLeafBytes
}

// overflows reports that the leaf must be divided.
func (l *leaf) overflows() bool {
	return len(l.ents) > maxEntries || len(l.buf) > maxLeafBytes+maxPiece && len(l.ents) > 1
}

// sparse reports that the leaf should be joined with a neighbour.
func (l *leaf) sparse() bool { return len(l.ents) < maxEntries/4 && len(l.buf) < maxLeafBytes/4 }

// fits reports that l and m together make a leaf with room to spare.
func (l *leaf) fits(m *leaf) bool {
	return len(l.ents)+len(m.ents) <= maxEntries*3/4 && len(l.buf)+len(m.buf) <= maxLeafBytes*3/4
}

// clip gives memory back that the leaf is unlikely to use.
func (l *leaf) clip() {
	if cap(l.buf) > len(l.buf)+len(l.buf)/4+64 {
		l.buf = append(make([]byte, 0, len(l.buf)), l.buf...)
	}
	if cap(l.ents) > len(l.ents)+len(l.ents)/4+4 {
		l.ents = append(make([]entry, 0, len(l.ents)), l.ents...)
	}
}
