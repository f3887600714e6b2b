package ystore

// maxCuts is how many delete ranges of a client are taken together.
const maxCuts = 512

// applyDeletes merges the delete set of a checked update.
func (x *change) applyDeletes(update []byte, sum *summary) {
	if sum.ranges == 0 {
		return
	}
	cuts := x.cuts[:0]
	x.eachRange(update, sum, func(d span) bool {
		if n := len(cuts); n == maxCuts || n > 0 && cuts[0].client != d.client {
			x.delete(x.runFor(cuts[0].client), cuts)
			cuts = cuts[:0]
		}
		cuts = append(cuts, d)
		return true
	})
	if len(cuts) > 0 {
		x.delete(x.runFor(cuts[0].client), cuts)
	}
	x.cuts = cuts[:0]
}

// delete marks ranges of one client's ids deleted, known or not, and takes their
// content. They are sorted and apart, and are used up. All that lie in one leaf are one
// edit of it: a million ranges must not cost a million moves of its bytes.
func (x *change) delete(r *run, cuts []span) {
	for len(cuts) > 0 {
		if cuts[0].from >= r.end {
			x.deleteAhead(r, cuts[0].from, cuts[0].to)
			cuts = cuts[1:]
			continue
		}
		l := r.leafAt(cuts[0].from)
		n, end := 1, l.end // the edit may divide or join the leaf
		for n < len(cuts) && cuts[n].from < end {
			n++
		}
		if int(l.deleted) < len(l.ents) {
			x.deleteIn(r, l, cuts[:n])
		}
		if last := &cuts[n-1]; last.to > end {
			last.from = end
			n--
		}
		cuts = cuts[n:]
	}
}

// deleteAhead marks a range deleted of which nothing is known.
func (x *change) deleteAhead(r *run, from, to uint64) {
	if from > r.end {
		x.pushLast(r, &item{clock: r.end, len: from - r.end, kind: kindSkip})
	}
	x.noteGone(r.client, from, to)
	x.pushLast(r, &item{clock: from, len: to - from, kind: kindGone})
}

// deleteIn marks ranges deleted that begin in one leaf, as far as they lie in it.
func (x *change) deleteIn(r *run, l *leaf, cuts []span) {
	lo, cuts := l.firstCut(cuts)
	if len(cuts) == 0 {
		return
	}
	hi := l.find(min(cuts[len(cuts)-1].to, l.end)-1) + 1
	ed := &x.edit
	ed.begin(r, l, lo, hi)
	var it item
	cut := true // the entry before was
	for i := lo; i < hi; i++ {
		e, end := l.ents[i], l.endOf(i)
		for len(cuts) > 0 && cuts[0].to <= e.clock() {
			cuts = cuts[1:]
		}
		before := cut
		cut = len(cuts) > 0 && cuts[0].from < end && !e.deleted()
		switch {
		case !cut && !before:
			ed.out.addRaw(l, i)
		case !cut:
			l.item(i, &it)
			ed.push(&it)
		default:
			l.item(i, &it)
			x.deleteFrom(r, &it, cuts)
		}
	}
	x.commit(ed)
}

// firstCut returns the first entry that the ranges delete something of, and the ranges
// that are left from there on.
func (l *leaf) firstCut(cuts []span) (int, []span) {
	for ; len(cuts) > 0; cuts = cuts[1:] {
		to := min(cuts[0].to, l.end)
		for i := l.find(cuts[0].from); i < len(l.ents) && l.ents[i].clock() < to; i++ {
			if !l.ents[i].deleted() {
				return i, cuts
			}
		}
	}
	return 0, nil
}

// deleteFrom pushes what the ranges make of an item, of which they delete a part.
func (x *change) deleteFrom(r *run, it *item, cuts []span) {
	ed := &x.edit
	for ; len(cuts) > 0 && cuts[0].from < it.end(); cuts = cuts[1:] {
		from, to := cuts[0].from, cuts[0].to
		if it.clock < from {
			left := *it
			left.trimEnd(from - it.clock)
			ed.push(&left)
			it.trimFront(r.client, from-it.clock)
		}
		rest := *it
		more := it.end() > to
		if more {
			rest.trimFront(r.client, to-it.clock)
			if it.len = to - it.clock; x.keep {
				it.trimEnd(it.len)
			}
		}
		x.noteGone(r.client, it.clock, it.end())
		if it.kind == kindType {
			x.typeDeleted(id{r.client, it.clock})
		}
		x.deleteItem(it)
		ed.push(it)
		if !more {
			return
		}
		*it = rest
	}
	ed.push(it)
}
