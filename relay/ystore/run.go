package ystore

// run is all that is known of one client's ids, without holes from 0 to end:
// structs, and gaps for what is missing between them.
type run struct {
	client uint64
	next   uint64 // first id that is missing: the client's clock in the state vector
	end    uint64 // behind the last entry
	head   uint64 // first id of a struct; maxClock if there is none
	tail   uint64 // behind the last struct
	gaps   int    // entries that are gaps

	waits      bool   // for another client's ids, see causal
	integrable uint64 // and then: the first id of what waits

	first, last, hint *leaf
	dir               directory // of all leaves but only if there are several
}

// leafAt returns the leaf that holds clock, which lies before r.end.
func (r *run) leafAt(clock uint64) *leaf {
	if l := r.hint; l.start() <= clock && clock < l.end {
		return l
	}
	l := r.last
	if clock < l.start() {
		if l = r.first; clock >= l.end {
			l = r.dir.find(clock)
		}
	}
	r.hint = l
	return l
}

// link puts m behind l; m starts where l ends.
func (r *run) link(l, m *leaf) {
	if len(r.dir.pages) == 0 {
		r.dir.add(r.first)
	}
	r.dir.add(m)
	m.prev, m.next = l, l.next
	if l.next != nil {
		l.next.prev = m
	} else {
		r.last = m
	}
	l.next = m
}

// unlink takes out a leaf, which is not the first.
func (r *run) unlink(l *leaf) {
	r.dir.remove(l)
	l.prev.next = l.next
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		r.last = l.prev
	}
	if r.hint == l {
		r.hint = l.prev
	}
}

// tally counts an entry in or out. Structs at r.next are not behind a gap.
func (rs *runs) tally(r *run, e entry, by int) {
	kind := e.kind()
	if e.continues() {
		rs.totals.continued += by
	}
	if e.deleted() {
		rs.totals.deleted += by
	}
	if kind == kindGone {
		rs.totals.ahead += by
	}
	if !known(kind) {
		r.gaps += by
		return
	}
	rs.totals.entries += by
	if e.clock() > r.next {
		rs.totals.pending += by
	}
}

// extendRun appends a struct or a gap at the end of the run.
func (rs *runs) extendRun(r *run, it *item) {
	if it.clock > r.end {
		gap := item{clock: r.end, len: it.clock - r.end, kind: kindSkip}
		rs.pushLast(r, &gap)
	}
	if known(it.kind) {
		r.head = min(r.head, it.clock)
		r.tail = it.end()
	}
	if len(it.content) > maxPiece {
		rs.divide(r, it, func(piece *item) { rs.pushLast(r, piece) })
		return
	}
	rs.pushLast(r, it)
}

func (rs *runs) pushLast(r *run, it *item) {
	l := r.last
	if l == nil {
		l = &leaf{ents: make([]entry, 0, 2)} // few clients have one entry only
		r.first, r.last, r.hint = l, l, l
	}
	rs.totals.own(l)
	before, held, old := len(l.buf), l.held(), l
	if r.end == 0 {
		held = 0 // it is new
	}
	added := false
	if l.takes(it) {
		added = l.push(r.client, it)
	} else if at, ok := l.joins(r.client, len(l.ents)-1, it); ok && l.extend(len(l.ents)-1, at, it) {
		l.end = it.end()
	} else {
		l.clip()
		room := min(len(l.buf), maxLeafBytes) + it.size()
		entries := min(len(l.ents)+len(l.ents)/4+4, maxEntries) // as many as before, and some
		m := &leaf{ents: make([]entry, 0, entries), buf: make([]byte, 0, room)}
		it.continues = ok
		m.add(it)
		r.link(l, m)
		l, before, added = m, 0, true
	}
	rs.totals.bytes += len(l.buf) - before
	rs.totals.held += old.held() - held
	if l != old {
		rs.totals.held += l.held()
	}
	if r.next == it.clock && known(it.kind) {
		r.next = it.end()
	}
	r.end = it.end()
	if added {
		rs.tally(r, l.ents[len(l.ents)-1], 1)
	}
}

// divide calls push with pieces of it that are small enough for one entry.
func (rs *runs) divide(r *run, it *item, push func(*item)) {
	for len(it.content) > maxPiece && it.len > 1 && divisible(it.kind) {
		it.raw = nil
		n, size := it.piece()
		head := *it
		head.len, head.content = n, it.content[:size]
		push(&head)
		it.clock += n
		it.len -= n
		it.content = it.content[size:]
		it.info |= hasOrigin
		it.origin = id{r.client, it.clock - 1}
		it.form = parentImplied
	}
	push(it)
}

// piece returns how many ids and bytes of the item's content make one entry.
func (it *item) piece() (n uint64, size int) {
	if it.kind == kindString {
		size = maxPiece
		for it.content[size]&0xc0 == 0x80 {
			size--
		}
		return utf16Len(it.content[:size]), size
	}
	for n < it.len {
		next := skipElement(it.kind, it.content, size)
		if n > 0 && next > maxPiece {
			break
		}
		n, size = n+1, next
	}
	return n, size
}

// edit collects the entries that replace some of a leaf's.
type edit struct {
	r      *run
	l      *leaf
	lo, hi int
	out    leaf
}

// begin starts to replace entries lo to hi of l.
func (ed *edit) begin(r *run, l *leaf, lo, hi int) {
	ed.r, ed.l, ed.lo, ed.hi = r, l, lo, hi
	ed.out.reset()
	if lo > 0 {
		ed.lo--
		ed.out.addRaw(l, ed.lo)
	}
}

func (ed *edit) push(it *item) { ed.out.push(ed.r.client, it) }

// commit puts the new entries into the leaf, joined with their neighbours.
func (rs *runs) commit(ed *edit) {
	r, l := ed.r, ed.l
	if ed.hi < len(l.ents) {
		var it item
		l.item(ed.hi, &it)
		ed.push(&it)
		ed.hi++
	}
	for _, e := range l.ents[ed.lo:ed.hi] {
		rs.tally(r, e, -1)
	}
	for _, e := range ed.out.ents {
		rs.tally(r, e, 1)
	}
	rs.work += editWork + entryWork*len(ed.out.ents)
	rs.totals.own(l)
	before, held := len(l.buf), l.held()
	first, last := ed.lo == 0, ed.hi == len(l.ents)
	l.replace(ed.lo, ed.hi, &ed.out)
	rs.totals.bytes += len(l.buf) - before
	rs.totals.held += l.held() - held
	if first && l.prev != nil {
		rs.knit(r, l)
	}
	if last && l.next != nil {
		rs.knit(r, l.next)
	}
	switch {
	case l.overflows():
		rs.split(r, l)
	case l.sparse():
		rs.merge(r, l)
	}
}

// knit notes whether the first entry of l is one struct with the last entry
// of the leaf before it.
func (rs *runs) knit(r *run, l *leaf) {
	var it item
	l.item(0, &it)
	_, ok := l.prev.joins(r.client, len(l.prev.ents)-1, &it)
	if ok == it.continues {
		return
	}
	by := -1
	if ok {
		by = 1
	}
	l.ents[0].word ^= continuesBit
	l.continued += int16(by)
	rs.totals.continued += by
}

// split divides a leaf that became too large.
func (rs *runs) split(r *run, l *leaf) {
	old := *l
	entries, size := evenly(len(old.ents), maxEntries*3/4), evenly(len(old.buf), maxLeafBytes*3/4)
	into := l
	for lo := 0; lo < len(old.ents); {
		hi := lo + 1
		for hi < len(old.ents) && hi-lo < entries && old.offset(hi+1)-old.offset(lo) <= size+maxPiece/2 {
			hi++
		}
		if lo == 0 {
			l.copyOf(&old, lo, hi)
			rs.totals.held += l.held() - old.held()
		} else {
			m := new(leaf)
			m.copyOf(&old, lo, hi)
			rs.totals.held += m.held()
			r.link(into, m)
			into = m
		}
		lo = hi
	}
}

// evenly is the size of the parts when n is divided into parts of at most most.
func evenly(n, most int) int {
	parts := (n + most - 1) / most
	if parts < 2 {
		return most
	}
	return (n + parts - 1) / parts
}

// merge joins a sparse leaf with a neighbour that has room.
func (rs *runs) merge(r *run, l *leaf) {
	switch {
	case l.next != nil && l.fits(l.next):
	case l.prev != nil && l.fits(l.prev):
		l = l.prev
	default:
		if cap(l.buf) > 4*len(l.buf)+maxPiece/4 {
			rs.clip(l)
		}
		return
	}
	m := l.next
	r.unlink(m)
	rs.totals.own(l)
	rs.totals.given.leave(m)
	before, held := len(l.buf)+len(m.buf), l.held()+m.held()
	var it item
	m.item(0, &it)
	rs.tally(r, m.ents[0], -1)
	if l.push(r.client, &it) {
		rs.tally(r, l.ents[len(l.ents)-1], 1)
	}
	for i := 1; i < len(m.ents); i++ {
		l.addRaw(m, i)
	}
	l.clip()
	rs.totals.bytes += len(l.buf) - before
	rs.totals.held += l.held() - held
}

// clip gives memory back that a leaf of a run is unlikely to use.
func (rs *runs) clip(l *leaf) {
	held := l.held()
	l.clip()
	rs.totals.held += l.held() - held
}

// advance moves r.next over what is known now. What it passes was pending.
func (rs *runs) advance(r *run) {
	if r.next == r.end {
		return
	}
	l := r.leafAt(r.next)
	i := l.find(r.next)
	for known(l.ents[i].kind()) {
		if r.next = l.endOf(i); r.next == r.end {
			return
		}
		if i++; i == len(l.ents) {
			l, i = l.next, 0
		}
		if known(l.ents[i].kind()) {
			rs.totals.pending--
		}
	}
}
