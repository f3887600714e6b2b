package ystore

import (
	"cmp"
	"slices"
)

// applyStructs merges the structs of a checked update. What is known already
// stays as it is.
func (s *Store) applyStructs(update []byte, sum *summary) {
	x := s.scratch
	if x.reads.n > maxRead {
		x.applyBlocks(s, update, sum)
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
		s.insert(s.runFor(r.client), &r.item)
	}
}

// applyBlocks is applyStructs of an update that is read again.
func (x *scratch) applyBlocks(s *Store, update []byte, sum *summary) {
	it, copies := &x.it, x.copies
	lies := unresolved
	switch {
	case len(copies) == 0:
	case !sum.tight:
		copies = nil
	case s.types.plain && !x.later && !sum.nested:
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
			if b.apply(s, s.runFor(client), update, lies) {
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
				r = s.runFor(client)
			}
			s.insert(r, it)
		}
		if r != nil && count > maxEntries {
			s.clip(r.last)
		}
	}
	x.placeDeferred(s)
}

// insert merges one struct.
func (s *Store) insert(r *run, it *item) {
	from, to := it.clock, it.end()
	if from >= r.end {
		s.insertLast(r, it)
		return
	}
	tombstone := deleted(it.kind)
	if to > r.next {
		s.fill(r, *it)
		s.advance(r)
	}
	if tombstone {
		s.delete(r, []span{{r.client, from, min(to, r.end)}})
	}
}

// insertLast appends a struct that is new as a whole.
func (s *Store) insertLast(r *run, it *item) {
	s.locate(r, it)
	s.scratch.fresh = addSpan(s.scratch.fresh, r.client, it.clock, it.end())
	if deleted(it.kind) {
		s.gone(r.client, it.clock, it.end())
		s.deleteItem(it)
	}
	s.extendRun(r, it)
}

// fill puts what of it is missing into the run's gaps, and what lies beyond the
// run at its end. It uses it up from the front, so that a long struct over many
// gaps is read only once.
func (s *Store) fill(r *run, it item) {
	to := it.end()
	for at := max(it.clock, r.next); at < to; {
		if at >= r.end {
			it.skipTo(r.client, at)
			s.insertLast(r, &it)
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
			s.fillGap(r, l, i, &piece)
		}
		at = stop
	}
}

// fillGap puts a struct into the gap at entry i of l, which is at least as long.
func (s *Store) fillGap(r *run, l *leaf, i int, it *item) {
	s.locate(r, it)
	var gap item
	l.item(i, &gap)
	from, to := it.clock, it.end()
	s.scratch.fresh = addSpan(s.scratch.fresh, r.client, from, to)
	switch {
	case gap.kind == kindGone:
		s.deleteItem(it)
		s.scratch.gone = addSpan(s.scratch.gone, r.client, from, to)
	case deleted(it.kind):
		s.deleteItem(it)
		s.gone(r.client, from, to)
	}
	r.head, r.tail = min(r.head, from), max(r.tail, to)
	ed := &s.scratch.edit
	ed.begin(r, l, i, i+1)
	if gap.clock < from {
		left := item{clock: gap.clock, len: from - gap.clock, kind: gap.kind}
		ed.push(&left)
	}
	end := gap.end()
	s.divide(r, it, ed.push)
	if to < end {
		right := item{clock: to, len: end - to, kind: gap.kind}
		ed.push(&right)
	}
	s.commit(ed)
}

// gone notes that a range has become deleted.
func (s *Store) gone(client, from, to uint64) {
	s.digest += digestOf(client, from, to)
	s.scratch.gone = addSpan(s.scratch.gone, client, from, to)
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
