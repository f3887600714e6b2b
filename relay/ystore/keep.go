package ystore

// A store may keep the content of what is deleted, for clients that restore old states of
// the document from it: Yjs with `gc: false`, and snapshots. An entry that is deleted then
// stays what it was, and has the bit kept. It is written as it would be if it lived; that
// it does not, the delete set says. Nothing is collected.
//
// Others may know the same ids without their content: a client that collects garbage, a
// store of the time before. Content counts more than a tombstone, whichever comes first,
// and a tombstone more than GC, which has no place. See restore.

// Keep has the store keep the content of what is deleted from now on. What has lost its
// content already gets it back if an update brings it.
func (s *Store) Keep() { s.keep = true }

// Keeps reports whether the store keeps the content of what is deleted.
func (s *Store) Keeps() bool { return s.keep }

// deleteItem makes of an item what stays of it when it is deleted.
func (s *Store) deleteItem(it *item) {
	if s.keep && known(it.kind) {
		it.kept = it.kept || !deleted(it.kind)
		return
	}
	it.strip(s.dead(it.lineage))
}

// empty takes the content of deleted items, although it is kept elsewhere: types that lie
// too deep would be too much for clients even so.
func (s *Store) empty(r *run, from, to uint64) {
	for from < to {
		l := r.leafAt(from)
		end := min(to, l.end) // the edit may divide the leaf
		lo, hi := l.find(from), l.find(end-1)+1
		ed := &s.scratch.edit
		ed.begin(r, l, lo, hi)
		for i := lo; i < hi; i++ {
			var it item
			l.item(i, &it)
			if it.kept {
				it.kept = false
				it.strip(false)
			}
			ed.push(&it)
		}
		s.commit(ed)
		from = end
	}
}

// worth orders the kinds of structs by what they tell.
func worth(kind byte) int {
	switch kind {
	case kindSkip, kindGone:
		return -1
	case kindGC:
		return 0
	case kindDeleted:
		return 1
	}
	return 2
}

// restores reports whether a struct tells more than the store knows of ids that it has.
func (s *Store) restores(r *run, kind byte, from, to uint64) bool {
	if !s.keep || r == nil || worth(kind) <= 0 {
		return false
	}
	for to = min(to, r.end); from < to; {
		l := r.leafAt(from)
		if l.deleted == 0 {
			from = l.end
			continue
		}
		for i := l.find(from); i < len(l.ents) && from < to; i++ {
			if s.tellsMore(kind, l.ents[i]) {
				return true
			}
			from = l.endOf(i)
		}
	}
	return false
}

// tellsMore reports whether a struct of that kind tells more than an entry of its ids.
// What lies too deep stays without content: see empty.
func (s *Store) tellsMore(kind byte, e entry) bool {
	return known(e.kind()) && worth(kind) > worth(e.kind()) && s.depth(e.lineage) < maxDepth
}

// restore merges an update that tells more than the store knows of some ids; ok is false
// if that must not be taken. It costs as much as the document is large, and it is rare:
// merges of what was kept with what was not.
//
// What is told more of goes to other pods and the history. Clients have these ids: none
// would take more of them, and Yjs throws on a struct that begins in what it has as GC
// and goes on behind it.
func (s *Store) restore(update []byte) (fresh []byte, ok bool) {
	n := s.restored(update)
	if n == nil {
		return nil, false
	}
	x := s.scratch
	x.restored, x.settled, x.gone = true, x.settled[:0], x.gone[:0]
	var more []span
	x.fresh, more = s.newIn(update, x.fresh[:0])
	for _, r := range n.list {
		before := s.byClient[r.client]
		x.gone = r.addDeleted(x.gone, before)
		from := r.head
		if before != nil {
			from = max(before.reach(), min(before.head, r.head))
		}
		if from < r.reach() {
			x.settled = append(x.settled, span{r.client, from, r.reach()})
		}
	}
	n.scratch, n.work = x, s.work
	*s = *n
	return s.encodeSpans(append(more, x.fresh...)), true
}

// restored makes a store of all that this one and an update hold, what has content first:
// so it has its place, and what hangs on it is judged by it. It is nil if something that
// clients can integrate now would have to wait then, for what is missing or in a circle.
func (s *Store) restored(update []byte) *Store {
	state := s.encode(nil, 0, nil)
	s.work += 2 * (len(state) + len(update))
	n := New(s.limits)
	n.keep = true
	for value := 2; value >= 0; value-- {
		for _, u := range [][]byte{state, update} { // of two contents the one that is there stays
			if _, err := n.applyStraight(sift(u, value)); err != nil {
				return nil
			}
		}
	}
	for _, r := range s.list {
		if m := n.byClient[r.client]; r.reach() > 0 && (m == nil || m.reach() < r.reach()) {
			return nil
		}
	}
	return n
}

func (s *Store) applyStraight(update []byte) (fresh []byte, err error) {
	s.acquire()
	defer s.release()
	return s.apply(update, Terms{straight: true})
}

// newIn returns the ranges of ids of an update that the store does not have, and those of
// which the update tells more.
func (s *Store) newIn(update []byte, fresh []span) (_, more []span) {
	it := &s.scratch.it
	s.eachStruct(update, func(client uint64, _, _ int) bool {
		r := s.run(client)
		from, to := it.clock, it.end()
		if it.kind == kindSkip {
			return true
		}
		for from < to && r != nil && from < r.end {
			l := r.leafAt(from)
			i := l.find(from)
			end := min(l.endOf(i), to)
			switch e := l.ents[i]; {
			case !known(e.kind()):
				fresh = addSpan(fresh, client, from, end)
			case s.tellsMore(it.kind, e):
				more = addSpan(more, client, from, end)
			}
			from = end
		}
		if from < to {
			fresh = addSpan(fresh, client, from, to)
		}
		return true
	})
	return fresh, more
}

// addDeleted appends the deleted ranges of a run that are not known to be deleted in
// what it was before, nil if it was not there.
func (r *run) addDeleted(spans []span, before *run) []span {
	for l := r.first; l != nil; l = l.next {
		for i, e := range l.ents {
			if from, to := e.clock(), l.endOf(i); e.deleted() && (before == nil || !before.lacks(from, to)) {
				spans = addSpan(spans, r.client, from, to)
			}
		}
	}
	return spans
}

// sift returns a checked update without the structs that are worth more or less, and with
// all of its deletions.
func sift(update []byte, value int) []byte {
	var b, body []byte
	var it item
	blocks, p := uvarint(update, 0)
	written := uint64(0)
	for ; blocks > 0; blocks-- {
		var n, client, clock uint64
		n, p = uvarint(update, p)
		client, p = uvarint(update, p)
		clock, p = uvarint(update, p)
		structs, first, gap := uint64(0), clock, uint64(0)
		body = body[:0]
		for ; n > 0; n-- {
			at := p
			p = it.decode(update, p, clock)
			clock += it.len
			switch {
			case worth(it.kind) != value || it.len == 0:
				gap += it.len
				continue
			case structs == 0:
				first = it.clock
			case gap > 0:
				body = appendUvarint(append(body, kindSkip), gap)
				structs++
			}
			gap = 0
			body = append(body, update[at:p]...)
			structs++
		}
		if structs > 0 {
			written++
			b = appendUvarint(appendUvarint(appendUvarint(b, structs), client), first)
			b = append(b, body...)
		}
	}
	return append(append(appendUvarint(nil, written), b...), update[p:]...)
}
