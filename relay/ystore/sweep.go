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
func (x *change) sweepAll() {
	for x.sweep.running || x.sweep.wanted {
		x.sweepStep(math.MaxInt)
	}
}

// sweepStep goes over at most the given number of leaves.
func (x *change) sweepStep(leaves int) {
	if x.keep {
		x.sweep = sweep{}
	}
	if !x.sweep.running {
		if !x.sweep.wanted {
			return
		}
		x.sweep = sweep{running: true}
	}
	for ; x.sweep.run < len(x.list); x.sweep.run, x.sweep.clock = x.sweep.run+1, 0 {
		r := x.list[x.sweep.run]
		for x.sweep.clock < r.end {
			if leaves--; leaves < 0 {
				return
			}
			l := r.leafAt(x.sweep.clock)
			x.sweep.clock = l.end
			if l.deleted > 0 {
				x.sweepLeaf(r, l)
			}
		}
	}
	x.sweep.running = false
}

// sweepLeaf turns the leaf's tombstones whose type is gone into GC.
func (x *change) sweepLeaf(r *run, l *leaf) {
	lo, hi := -1, 0
	for i, e := range l.ents {
		if e.kind() == kindDeleted && x.dead(e.lineage) {
			if lo < 0 {
				lo = i
			}
			hi = i + 1
		}
	}
	if lo < 0 {
		return
	}
	ed := &x.edit
	ed.begin(r, l, lo, hi)
	var it item
	for i := lo; i < hi; i++ {
		l.item(i, &it)
		if it.kind == kindDeleted {
			it.strip(x.dead(it.lineage))
		}
		ed.push(&it)
	}
	x.commit(ed)
}
