package ystore

import "math"

// A deleted item can become a GC struct, which costs next to nothing, only if
// the type that it lies in is gone too: receivers then turn everything in it
// into GC anyway. So the store has to know in which type an item lies, which
// the wire says only of items without neighbours. lineage is the answer, kept
// per entry. Documents without nested types never need it.
type lineage uint32

const (
	unresolved lineage = iota
	inRoot             // a root type, which nobody can delete
	collected          // GC itself, or beside GC: the type is gone
	missingA           // looked for in vain in this sweep …
	missingB           // … or in the one before
	firstType          // index of the first nested type
)

func (l lineage) settled() bool { return l == inRoot || l == collected || l >= firstType }

// types are the nested types that items name as their parents.
type types struct {
	byID   map[id]lineage
	gone   []bool // by lineage, from firstType on
	absent []id   // not known yet when they were named
}

func (s *Store) dead(l lineage) bool {
	return l == collected || l >= firstType && s.types.gone[l-firstType]
}

// lineageOfType returns the lineage of items whose parent is the type with that
// id.
func (s *Store) lineageOfType(at id) lineage {
	if l, ok := s.types.byID[at]; ok {
		return l
	}
	if s.types.byID == nil {
		s.types.byID = make(map[id]lineage)
	}
	l := firstType + lineage(len(s.types.gone))
	s.types.byID[at] = l
	kind := s.kindAt(at)
	s.types.gone = append(s.types.gone, known(kind) && deleted(kind))
	if !known(kind) {
		s.types.absent = append(s.types.absent, at)
	}
	return l
}

func (s *Store) kindAt(at id) byte {
	r := s.runs[at.client]
	if r == nil || at.clock >= r.end {
		return kindSkip
	}
	l := r.leafAt(at.clock)
	return l.ents[l.find(at.clock)].kind()
}

// typeDeleted notes that the type with that id was deleted: tombstones in it
// can be collected.
func (s *Store) typeDeleted(at id) {
	if l, ok := s.types.byID[at]; ok && !s.types.gone[l-firstType] {
		s.types.gone[l-firstType] = true
		s.sweep.wanted = true
	}
}

// lineageOf settles the lineage of an item that just came, from what its
// neighbours' is; the sweep looks further where that is not known yet.
func (s *Store) lineageOf(it *item) lineage {
	switch {
	case it.kind == kindGC:
		return collected
	case it.form == parentItem:
		return s.lineageOfType(it.parent)
	case len(s.types.gone) == 0:
		return unresolved
	case it.form == parentRoot:
		return inRoot
	}
	l, i := s.neighbour(it)
	if l == nil || !l.ents[i].settled() {
		return unresolved
	}
	return l.ents[i].lineage
}

// neighbour finds the entry that it hangs on; nil if it is not known.
func (s *Store) neighbour(it *item) (*leaf, int) {
	at := it.right
	if it.info&hasOrigin != 0 {
		at = it.origin
	}
	r := s.runs[at.client]
	if r == nil || at.clock >= r.end {
		return nil, 0
	}
	l := r.leafAt(at.clock)
	i := l.find(at.clock)
	if !known(l.ents[i].kind()) {
		return nil, 0
	}
	return l, i
}

// sweep is the state of the search for tombstones that can be collected, which
// goes over the document in steps as edits come.
type sweep struct {
	wanted  bool // a type was deleted since the last sweep began
	running bool
	run     int     // where it is: index in Store.list …
	clock   uint64  // … and clock
	mark    lineage // missingA or missingB
	rest    int     // edits until an unfinished search for absent types may begin again
}

// sweepAll collects all that can be collected.
func (s *Store) sweepAll() {
	for s.sweep.running || s.sweep.wanted {
		s.sweep.rest = 0
		s.sweepStep(math.MaxInt)
	}
}

// sweepStep goes over at most the given number of leaves.
func (s *Store) sweepStep(leaves int) {
	if !s.sweep.running {
		if !s.sweep.wanted {
			return
		}
		if s.sweep.rest > leaves {
			s.sweep.rest -= leaves
			return
		}
		s.sweepBegin()
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

func (s *Store) sweepBegin() {
	s.sweep.running, s.sweep.wanted = true, false
	s.sweep.run, s.sweep.clock = 0, 0
	if s.sweep.mark == missingA {
		s.sweep.mark = missingB
	} else {
		s.sweep.mark = missingA
	}
	absent := s.types.absent[:0]
	for _, at := range s.types.absent {
		kind := s.kindAt(at)
		if !known(kind) {
			absent = append(absent, at)
		} else if deleted(kind) {
			s.types.gone[s.types.byID[at]-firstType] = true
		}
	}
	s.types.absent = absent
	s.sweep.rest = len(absent)
}

// sweepLeaf turns the leaf's tombstones whose type is gone into GC.
func (s *Store) sweepLeaf(r *run, l *leaf) {
	lo, hi := -1, 0
	for i, e := range l.ents {
		if e.kind() == kindDeleted && s.dead(s.resolve(l, i)) {
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

type place struct {
	l *leaf
	i int
}

// resolve follows entry i's neighbours to one whose type is known, and settles
// it for all on the way.
func (s *Store) resolve(l *leaf, i int) lineage {
	if e := l.ents[i]; e.settled() || e.lineage == s.sweep.mark {
		return e.lineage
	}
	chain := s.scratch.chain[:0]
	var it item
	found := s.sweep.mark
	for {
		e := l.ents[i]
		if e.settled() || e.lineage == s.sweep.mark {
			found = e.lineage
			break
		}
		// Marked before it is known: that ends a circle as well.
		l.ents[i].lineage = s.sweep.mark
		chain = append(chain, place{l, i})
		l.item(i, &it)
		if it.form == parentRoot {
			found = inRoot
			break
		}
		if it.form == parentItem {
			found = s.lineageOfType(it.parent)
			break
		}
		if l, i = s.neighbour(&it); l == nil {
			break
		}
	}
	gone := s.dead(found)
	for i, p := range chain {
		e := &p.l.ents[p.i]
		e.lineage = found
		if i > 0 && gone && e.kind() == kindDeleted {
			s.sweep.wanted = true // the sweep may be past it
		}
	}
	clear(chain) // the scratch outlives the document
	s.scratch.chain = chain[:0]
	return found
}
