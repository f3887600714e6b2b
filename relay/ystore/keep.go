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
func (x *change) deleteItem(it *item) {
	if x.keep && known(it.kind) {
		it.kept = it.kept || !deleted(it.kind)
		return
	}
	it.strip(x.dead(it.lineage))
}

// pushEmpty pushes an item without its content if it is deleted, although that is kept
// elsewhere: types that lie too deep would be too much for clients even so.
func pushEmpty(ed *edit, it *item) {
	if it.kept {
		it.kept = false
		it.strip(false)
	}
	ed.push(it)
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
// What lies too deep stays without content: see pushEmpty.
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
func (x *change) restore(update []byte) (fresh []byte, ok bool) {
	n := x.rebuilt(update)
	if n == nil {
		return nil, false
	}
	x.restored, x.integrable, x.gone = true, x.integrable[:0], x.gone[:0]
	var more []span
	x.fresh, more = x.newIn(update, x.fresh[:0])
	for _, r := range n.list {
		before := x.byClient[r.client]
		x.gone = r.addDeleted(x.gone, before)
		from := r.head
		if before != nil {
			from = max(before.reach(), min(before.head, r.head))
		}
		if from < r.reach() {
			x.integrable = append(x.integrable, span{r.client, from, r.reach()})
		}
	}
	n.work = x.work
	*x.Store = *n
	return x.encodeSpans(append(more, x.fresh...)), true
}

// rebuilt makes a store of all that this one and an update hold, what has content first:
// so it has its place, and what hangs on it is judged by it. It is nil if something that
// clients can integrate now would have to wait then, for what is missing or in a circle.
func (x *change) rebuilt(update []byte) *Store {
	state := x.encode(nil, 0, nil)
	x.work += 2 * (len(state) + len(update))
	n := New(x.limits)
	n.keep = true
	for value := 2; value >= 0; value-- {
		for _, u := range [][]byte{state, update} { // of two contents the one that is there stays
			if _, err := n.applyStraight(sift(u, value)); err != nil {
				return nil
			}
		}
	}
	for _, r := range x.list {
		if m := n.byClient[r.client]; r.reach() > 0 && (m == nil || m.reach() < r.reach()) {
			return nil
		}
	}
	return n
}

func (s *Store) applyStraight(update []byte) (fresh []byte, err error) {
	x := s.change()
	defer x.end()
	return x.apply(update, Terms{straight: true})
}

// newIn returns the ranges of ids of an update that the store does not have, and those of
// which the update tells more.
func (x *change) newIn(update []byte, fresh []span) (_, more []span) {
	it := &x.it
	x.eachStruct(update, func(client uint64, _, _ int) bool {
		r := x.run(client)
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
			case x.tellsMore(it.kind, e):
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
