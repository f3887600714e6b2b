package ystore

import (
	"cmp"
	"slices"
)

// applyStructs merges the structs of a checked update. What is known already
// stays as it is.
func (x *change) applyStructs(update []byte, sum *summary) {
	if x.reads.n > maxRead {
		x.applyBlocks(update, sum)
		return
	}
	for i := range x.reads.structs[:x.reads.n] {
		r := &x.reads.structs[i]
		if r.kind == kindSkip || r.len == 0 {
			continue
		}
		r.kept, r.continues, r.lineage, r.keyed = false, false, unresolved, false
		if !sum.tight {
			r.raw = nil
		}
		x.insert(x.runFor(r.client), &r.item)
	}
}

// applyBlocks is applyStructs of an update that is read again.
func (x *change) applyBlocks(update []byte, sum *summary) {
	it, copies := &x.it, x.copies
	lies := unresolved
	switch {
	case len(copies) == 0:
	case !sum.tight:
		copies = nil
	case x.types.plain && !x.later && !sum.nested:
		lies = inRoot
	}
	blocks, p := uvarint(update, 0)
	for ; blocks > 0; blocks-- {
		var n, client, clock uint64
		n, p = uvarint(update, p)
		client, p = uvarint(update, p)
		clock, p = uvarint(update, p)
		if len(copies) > 0 && copies[0].at == p {
			b := copies[0]
			copies = copies[1:]
			if b.apply(x, x.runFor(client), update, lies) {
				p = b.end
				continue
			}
		}
		var r *run
		count, raw := n, sum.tight && n > 1 // one alone mostly joins what is there
		it.raw = nil
		for ; n > 0; n-- {
			at := p
			p = it.decode(update, p, clock)
			clock += it.len
			if it.kind == kindSkip || it.len == 0 {
				continue
			}
			if raw {
				it.raw = update[at:p]
			}
			if r == nil {
				r = x.runFor(client)
			}
			x.insert(r, it)
		}
		if r != nil && count > maxEntries {
			x.clip(r.last)
		}
	}
	x.placeDeferred()
}

// insert merges one struct.
func (x *change) insert(r *run, it *item) {
	from, to := it.clock, it.end()
	if from >= r.end {
		x.insertLast(r, it)
		return
	}
	tombstone := deleted(it.kind)
	if to > r.next {
		x.fill(r, *it)
		x.advance(r)
	}
	if tombstone {
		x.delete(r, []span{{r.client, from, min(to, r.end)}})
	}
}

// insertLast appends a struct that is new as a whole.
func (x *change) insertLast(r *run, it *item) {
	x.locate(r, it)
	x.fresh = addSpan(x.fresh, r.client, it.clock, it.end())
	if deleted(it.kind) {
		x.noteGone(r.client, it.clock, it.end())
		x.deleteItem(it)
	}
	x.extendRun(r, it)
}

// fill puts what of it is missing into the run's gaps, and what lies beyond the
// run at its end. It uses it up from the front, so that a long struct over many
// gaps is read only once.
func (x *change) fill(r *run, it item) {
	to := it.end()
	for at := max(it.clock, r.next); at < to; {
		if at >= r.end {
			it.skipTo(r.client, at)
			x.insertLast(r, &it)
			return
		}
		l := r.leafAt(at)
		if l.gaps == 0 {
			at = l.end
			continue
		}
		i := l.find(at)
		stop := min(l.endOf(i), to)
		if !known(l.ents[i].kind()) {
			it.skipTo(r.client, at)
			piece := it
			if stop < to {
				piece.trimEnd(stop - at)
			}
			x.fillGap(r, l, i, &piece)
		}
		at = stop
	}
}

// fillGap puts a struct into the gap at entry i of l, which is at least as long.
func (x *change) fillGap(r *run, l *leaf, i int, it *item) {
	x.locate(r, it)
	var gap item
	l.item(i, &gap)
	from, to := it.clock, it.end()
	x.fresh = addSpan(x.fresh, r.client, from, to)
	switch {
	case gap.kind == kindGone:
		x.deleteItem(it)
		x.gone = addSpan(x.gone, r.client, from, to)
	case deleted(it.kind):
		x.deleteItem(it)
		x.noteGone(r.client, from, to)
	}
	r.head, r.tail = min(r.head, from), max(r.tail, to)
	ed := &x.edit
	ed.begin(r, l, i, i+1)
	if gap.clock < from {
		left := item{clock: gap.clock, len: from - gap.clock, kind: gap.kind}
		ed.push(&left)
	}
	end := gap.end()
	x.divide(r, it, ed.push)
	if to < end {
		right := item{clock: to, len: end - to, kind: gap.kind}
		ed.push(&right)
	}
	x.commit(ed)
}

// gone notes that a range has become deleted.
func (x *change) noteGone(client, from, to uint64) {
	x.digest += digestOf(client, from, to)
	x.gone = addSpan(x.gone, client, from, to)
}

// addSpan appends a range, to the last one if it continues that.
func addSpan(spans []span, client, from, to uint64) []span {
	if n := len(spans); n > 0 && spans[n-1].client == client && spans[n-1].to == from {
		spans[n-1].to = to
		return spans
	}
	return append(spans, span{client, from, to})
}

// union sorts ranges, highest client first, and joins those that overlap or
// touch, in place.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(b.client, a.client), cmp.Compare(a.from, b.from))
	})
	out := spans[:0]
	for _, d := range spans {
		if n := len(out); n > 0 && out[n-1].client == d.client && d.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, d.to)
			continue
		}
		out = append(out, d)
	}
	return out
}
