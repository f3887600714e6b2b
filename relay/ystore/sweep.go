package ystore

import "math"

// sweep is the state of the search for tombstones that can be collected, which
// goes over the document in steps as edits come.
type sweep struct {
	wanted  bool // a type was deleted since the last sweep began
	running bool
	run     int    // where it is: index in Store.list …
	clock   uint64 // … and clock
}

// sweepAll collects all that can be collected.
func (s *Store) sweepAll() {
	for s.sweep.running || s.sweep.wanted {
		s.sweepStep(math.MaxInt)
	}
}

// sweepStep goes over at most the given number of leaves.
func (s *Store) sweepStep(leaves int) {
	if s.keep {
		s.sweep = sweep{}
	}
	if !s.sweep.running {
		if !s.sweep.wanted {
			return
		}
		s.sweep = sweep{running: true}
	}
	for ; s.sweep.run < len(s.list); s.sweep.run, s.sweep.clock = s.sweep.run+1, 0 {
		r := s.list[s.sweep.run]
		for s.sweep.clock < r.end {
			if leaves--; leaves < 0 {
				return
			}
			l := r.leafAt(s.sweep.clock)
			s.sweep.clock = l.end
			if l.deleted > 0 {
				s.sweepLeaf(r, l)
			}
		}
	}
	s.sweep.running = false
}

// sweepLeaf turns the leaf's tombstones whose type is gone into GC.
func (s *Store) sweepLeaf(r *run, l *leaf) {
	lo, hi := -1, 0
	for i, e := range l.ents {
		if e.kind() == kindDeleted && s.dead(e.lineage) {
			if lo < 0 {
				lo = i
			}
			hi = i + 1
		}
	}
	if lo < 0 {
		return
	}
	ed := &s.scratch.edit
	ed.begin(r, l, lo, hi)
	var it item
	for i := lo; i < hi; i++ {
		l.item(i, &it)
		if it.kind == kindDeleted {
			it.strip(s.dead(it.lineage))
		}
		ed.push(&it)
	}
	s.commit(ed)
}
