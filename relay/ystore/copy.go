package ystore

import (
	"math"
	"slices"
)

// Of a block of structs that are new, as those of a document that is loaded, most are kept
// as they stand in the update. check notes where each begins. Then they are copied into
// leaves, many at once, without being read again.
//
// Where they lie is found when all that they hang on is there, behind the block or, if they
// hang on what comes with the same update, behind all of that (placeDeferred).

// minCopied is how many structs a block has that is worth noting.
const minCopied = 16

// maxNoted bounds the structs of an update that are noted: what many take for a moment is no
// more than what few of a larger document do.
const maxNoted = 1 << 20

// copied is a block of which check has noted the structs. They follow on what is known of
// their client, without a gap.
type copied struct {
	at, end     int    // in the update
	first, last int    // of the change's starts, last excluded
	to          uint64 // the clock behind it
}

// apartBit marks structs that have to be taken apart, since they may be one with what is
// before them, or be kept in pieces.
const apartBit = continuesBit

// noteBlock begins to note the structs of a block, and reports whether it is worth it.
func (x *change) noteBlock(c *checker, r *run, n, clock uint64) bool {
	if !c.mayCopy(r, n, clock) {
		return false
	}
	x.copies = append(x.copies, copied{at: c.p, first: len(x.starts)})
	x.starts = slices.Grow(x.starts, int(min(n, maxNoted)))
	return true
}

// noteEnd ends what noteBlock began; whole says that all structs were noted.
func (x *change) noteEnd(c *checker, clock uint64, whole bool) {
	last := &x.copies[len(x.copies)-1]
	if !whole {
		x.starts, x.copies = x.starts[:last.first], x.copies[:len(x.copies)-1]
		return
	}
	last.end, last.last, last.to = c.p, len(x.starts), clock
}

// mayCopy reports whether a block of n structs from clock on is worth noting.
func (c *checker) mayCopy(r *run, n, clock uint64) bool {
	if n < minCopied || n > uint64(len(c.b)-c.p)/2 || len(c.b) > math.MaxUint32 {
		return false // short, or cut off
	}
	if r == nil {
		return clock == 0
	}
	return clock == r.end && clock == r.next
}

// noteStart notes the struct that was read last, which begins at the given offset. It reports
// whether the block can be copied still.
func (x *change) noteStart(c *checker, client uint64, at int, first bool) bool {
	it := c.it
	if it.kind == kindSkip || it.len == 0 || len(x.starts) == maxNoted {
		return false
	}
	word := it.clock<<8 | uint64(it.kind)
	if first || c.p-at > maxPiece && divisible(it.kind) || it.mayJoin(client, x.starts[len(x.starts)-1].kind()) {
		word |= apartBit
	}
	x.starts = append(x.starts, entry{word, uint32(at), unresolved})
	return true
}

// mayJoin reports whether the item may be one struct with one of the given kind before it:
// it is not if joins says so, whatever is known by then.
func (it *item) mayJoin(client uint64, kind byte) bool {
	if kind != it.kind {
		return false
	}
	return kind == kindGC || it.info&hasOrigin != 0 && it.origin == (id{client, it.clock - 1}) && divisible(kind)
}

// apply merges a block that was noted. It reports false if that is none of what follows
// on what is known of the client, since the update had another one before it.
func (b copied) apply(x *change, r *run, update []byte, lies lineage) bool {
	starts := x.starts[b.first:b.last]
	if from := starts[0].clock(); from != r.end || from != r.next {
		return false
	}
	x.deferring = lies == unresolved
	for len(starts) > 0 {
		if e := starts[0]; e.word&apartBit == 0 {
			starts = starts[b.copyInto(x, r, update, starts, lies):]
			continue
		}
		at := int(starts[0].off)
		x.it.raw = update[at:x.it.decode(update, at, starts[0].clock())]
		x.insertApart(r, lies)
		starts = starts[1:]
	}
	if b.last-b.first > maxEntries {
		x.clip(r.last)
	}
	if x.deferring = false; !x.later { // all that they hang on is there
		x.placeDeferred()
	}
	return true
}

// insertApart inserts the struct in it, of a block that is copied. Whether it is one with the struct before
// it depends on where that lies: this is not deferred if it is known.
func (x *change) insertApart(r *run, lies lineage) {
	if l := r.last; x.deferring && l != nil {
		known := x.resolve(r.client, place{l, len(l.ents) - 1})
		x.placed, x.types.looked = x.placed || known, x.types.looked || !known
		x.deferring = !known
	}
	x.insertLast(r, &x.it)
	x.deferring = lies == unresolved
}

// copyInto copies structs into the run's last leaf as far as that takes them, or else into one
// behind it, and returns how many.
func (b copied) copyInto(x *change, r *run, update []byte, starts []entry, lies lineage) (n int) {
	l := r.last
	if l != nil {
		n = b.fitting(starts, maxEntries-len(l.ents), maxLeafBytes-len(l.buf))
	}
	old := l
	if n == 0 {
		n = max(1, b.fitting(starts, maxEntries, maxLeafBytes))
		l = new(leaf)
	}
	from, held := int(starts[0].off), 0
	end, to := b.behind(starts, n)
	if l == old {
		x.totals.own(l)
		held = l.held()
	}
	shift := b.bring(x, l, old, update, from, end, n, n == len(starts))
	deleted := 0
	gone := span{from: starts[0].clock(), to: starts[0].clock()} // deleted structs that follow on each other
	for i, e := range starts[:n] {
		e.off, e.lineage = e.off+shift, lies
		l.ents = append(l.ents, e)
		if !e.deleted() {
			continue
		}
		deleted++
		if gone.to != e.clock() {
			if deleted > 1 {
				x.noteGone(r.client, gone.from, gone.to)
			}
			gone.from = e.clock()
		}
		_, gone.to = b.behind(starts, i+1)
	}
	if deleted > 0 {
		x.noteGone(r.client, gone.from, gone.to)
	}
	l.deleted += int16(deleted)
	l.end = to
	x.fresh = addSpan(x.fresh, r.client, starts[0].clock(), to)
	if lies == unresolved {
		x.deferred = addSpan(x.deferred, r.client, starts[0].clock(), to)
	}
	r.head, r.tail, r.next, r.end = min(r.head, starts[0].clock()), to, to, to
	x.totals.bytes += end - from
	x.totals.entries += n
	x.totals.deleted += deleted
	switch {
	case l == old:
	case old == nil:
		r.first, r.last, r.hint = l, l, l
	default:
		x.clip(old)
		r.link(old, l)
	}
	x.totals.held += l.held() - held
	return n
}

// bring puts the bytes of n structs behind those of a leaf, or into a new one behind another.
// It returns by how much they are at another offset there than in the update, modulo 2^32. Of a
// block's last leaf, which may well grow, the bytes are always copied.
func (copied) bring(x *change, l, old *leaf, update []byte, from, end, n int, last bool) (shift uint32) {
	if l != old {
		if x.given && !last {
			l.ents = make([]entry, 0, n)
			x.totals.given.lay(l, update, from, end)
			return uint32(-from)
		}
		l.room(old, n, end-from, last)
	}
	shift = uint32(len(l.buf) - from)
	l.buf = append(l.buf, update[from:end]...)
	return shift
}

// room makes a leaf for so many entries and bytes behind another one, nil if it is the first. If
// it is the last one it gets more.
func (l *leaf) room(behind *leaf, entries, size int, last bool) {
	if last && behind != nil {
		entries = max(entries, min(len(behind.ents)+len(behind.ents)/4+4, maxEntries))
		size += min(len(behind.buf), maxLeafBytes)
	}
	l.ents, l.buf = make([]entry, 0, entries), make([]byte, 0, size)
}

// behind returns where the first n of some structs of the block end, in bytes and clocks.
func (b copied) behind(starts []entry, n int) (end int, to uint64) {
	if n < len(starts) {
		return int(starts[n].off), starts[n].clock()
	}
	return b.end, b.to
}

// fitting returns how many structs, none of which has to be taken apart, fit into so many
// entries and bytes.
func (b copied) fitting(starts []entry, entries, size int) (n int) {
	for n < len(starts) && n < entries && starts[n].word&apartBit == 0 {
		if end, _ := b.behind(starts, n+1); end-int(starts[0].off) > size {
			break
		}
		n++
	}
	return n
}

// placeDeferred finds where structs lie that were copied.
func (x *change) placeDeferred() {
	for _, d := range x.deferred {
		if x.types.later {
			x.lack(&x.types, d)
			continue
		}
		r := x.run(d.client)
		for at := d.from; at < d.to; {
			l := r.leafAt(at)
			for i := l.find(at); i < len(l.ents) && at < d.to; i++ {
				from := at
				at = l.endOf(i)
				if x.resolve(d.client, place{l, i}) {
					x.placed = true
				} else {
					x.lack(&x.types, span{d.client, from, min(at, d.to)})
					x.types.looked = true
				}
			}
		}
	}
	x.deferred = x.deferred[:0]
}

// lack notes ids of which it is not known where they lie.
func (x *change) lack(t *types, d span) {
	if t.missing == nil {
		t.missing, x.lent = x.missing[:0], true
	}
	t.missing = addSpan(t.missing, d.client, d.from, d.to)
}
