package ystore

import "fmt"

// verify checks what must hold of a store between calls.
func verify(s *Store) error {
	var sum totals
	if len(s.list) != len(s.byClient) {
		return fmt.Errorf("%d runs listed, %d filed", len(s.list), len(s.byClient))
	}
	var digest uint64
	for _, r := range s.ordered() {
		if s.byClient[r.client] != r {
			return fmt.Errorf("client %d: not filed", r.client)
		}
		if err := s.verifyRun(r, &sum, &digest); err != nil {
			return fmt.Errorf("client %d: %w", r.client, err)
		}
	}
	sum.given.size = s.totals.given.size
	if g := sum.given; g.size < g.used || g.used < g.unused() {
		return fmt.Errorf("leaves use %d bytes of %d that were given", g.used, g.size)
	}
	if sum != s.totals {
		return fmt.Errorf("totals %+v, counted %+v", s.totals, sum)
	}
	if digest != s.digest {
		return fmt.Errorf("digest %x, counted %x", s.digest, digest)
	}
	return nil
}

func (s *Store) verifyRun(r *run, sum *totals, digest *uint64) error {
	var at, next, tail uint64
	head := uint64(maxClock)
	gaps, leaves := 0, 0
	whole := true
	var prev *leaf
	for l := r.first; l != nil; prev, l = l, l.next {
		leaves++
		if l.prev != prev {
			return fmt.Errorf("leaf at %d: wrong previous leaf", at)
		}
		if len(l.ents) == 0 || l.overflows() {
			return fmt.Errorf("leaf at %d: %d entries, %d bytes", at, len(l.ents), len(l.buf))
		}
		if len(r.dir.pages) > 0 && r.dir.find(l.start()) != l {
			return fmt.Errorf("leaf at %d: not in the directory", at)
		}
		var counted leaf
		for i, e := range l.ents {
			counted.tally(e, 1)
			if e.clock() != at || l.endOf(i) <= at {
				return fmt.Errorf("entry at %d begins at %d and ends at %d", at, e.clock(), l.endOf(i))
			}
			at = l.endOf(i)
			var it item
			l.item(i, &it)
			if err := s.verifyEntry(r, l, i, &it); err != nil {
				return fmt.Errorf("entry at %d: %w", e.clock(), err)
			}
			if e.continues() {
				sum.continued++
			}
			if it.deleted() {
				sum.deleted++
				*digest += digestOf(r.client, it.clock, it.end())
			}
			if it.kind == kindGone {
				sum.ahead++
			}
			if !known(it.kind) {
				gaps++
				whole = false
				continue
			}
			head, tail = min(head, it.clock), at
			sum.entries++
			if whole {
				next = at
			} else {
				sum.pending++
			}
		}
		sum.bytes += len(l.buf)
		sum.held += l.held()
		if l.given {
			sum.given.used += cap(l.buf)
		}
		if counted.continued != l.continued || counted.deleted != l.deleted || counted.gaps != l.gaps {
			return fmt.Errorf("leaf at %d: counts are wrong", l.start())
		}
	}
	if prev != r.last || leaves > 1 && len(r.dir.pages) == 0 {
		return fmt.Errorf("wrong last leaf or no directory")
	}
	if at != r.end || next != r.next || gaps != r.gaps || head != r.head || tail != r.tail {
		return fmt.Errorf("run %+v, counted end %d next %d gaps %d head %d tail %d", *r, at, next, gaps, head, tail)
	}
	return nil
}

func (s *Store) verifyEntry(r *run, l *leaf, i int, it *item) error {
	m, j := l, i-1
	if i == 0 {
		if m = l.prev; m != nil {
			j = len(m.ents) - 1
		}
	}
	joins := false
	if m != nil && j >= 0 {
		_, joins = m.joins(r.client, j, it)
	}
	if it.kept && (!s.keep || deleted(it.kind) || !known(it.kind)) {
		return fmt.Errorf("kind %d is kept, in a store that keeps: %v", it.kind, s.keep)
	}
	if joins != it.continues {
		return fmt.Errorf("joins the entry before: %v, marked: %v", joins, it.continues)
	}
	if it.lineage.located() && it.kind == kindDeleted && s.dead(it.lineage) && !s.sweep.wanted && !s.sweep.running && !s.keep {
		return fmt.Errorf("tombstone should have been collected")
	}
	if !known(it.kind) {
		if l.offset(i+1) != l.offset(i) {
			return fmt.Errorf("gap with bytes")
		}
		return nil
	}
	if err := s.verifyPlace(r, it); err != nil {
		return err
	}
	wire := it.append(nil)
	if string(wire) != string(l.buf[l.offset(i):l.offset(i+1)]) {
		return fmt.Errorf("not in canonical form")
	}
	var again item
	if n := again.decode(wire, 0, it.clock); n != len(wire) || again.len != it.len {
		return fmt.Errorf("length %d, its bytes say %d", it.len, again.len)
	}
	if len(it.content) > maxPiece && it.len > 1 {
		return fmt.Errorf("%d bytes in one piece", len(it.content))
	}
	return nil
}

// verifyPlace checks that it is known where a struct lies that does not wait, and that
// clients can bear that.
func (s *Store) verifyPlace(r *run, it *item) error {
	if it.kind != kindGC && it.form != parentRoot {
		on := it.hangs()[0]
		if p, ok := s.placeAt(on); !ok || !p.l.ents[p.i].located() {
			if it.lineage.located() || it.clock < r.reach() {
				return fmt.Errorf("lies in %d, beside or in %v, of which that is not known", it.lineage, on)
			}
			return nil
		}
	}
	again := *it
	s.place(&again)
	if again.lineage == collected { // what it hangs on may have been collected since
		again.lineage, again.keyed = it.lineage, it.keyed
	}
	switch {
	case !it.lineage.located() || it.lineage != again.lineage || it.keyed != again.keyed:
		return fmt.Errorf("lies in %d, keyed %v, and should in %d, keyed %v", it.lineage, it.keyed, again.lineage, again.keyed)
	case it.kind == kindType && s.depth(it.lineage) >= maxDepth:
		return fmt.Errorf("type in %d others", s.depth(it.lineage))
	case it.deleted():
	case it.keyed && it.len > 1:
		return fmt.Errorf("%d values of a key", it.len)
	}
	return nil
}
