package ystore

import (
	"cmp"
	"fmt"
	"slices"
)

// checkDepth refuses types that lie too deep in each other. Those that wait are counted
// from what is missing, with what waits below them: some client may have that already.
// What comes to lie too deep only with something whose author may know nothing of it is
// deleted when it can be integrated (judge).
func (x *change) checkDepth(c *checker, sum *summary, limited bool) {
	joins := sum.waits && x.types.hanging > 0 // types that wait, with others
	if c.err != nil || sum.types == 0 && !joins {
		return
	}
	if !limited || !joins && x.types.deepest+sum.types <= maxDepth {
		if sum.waits {
			sum.hanging = min(x.types.hanging+sum.types, maxDepth)
		}
		return
	}
	d := depths{s: x.Store}
	if sum.waits {
		for _, r := range x.list {
			x.eachWaiting(r, func(it *item) { d.add(r.client, it, 0) })
		}
	}
	it := &x.it
	x.eachStruct(c.b, func(client uint64, at, _ int) bool {
		if r := x.run(client); it.kind != kindSkip && it.len > 0 && (r == nil || !r.holds(it.clock, it.end())) {
			d.add(client, it, at)
		}
		return true
	})
	hanging, at := d.measure()
	if at > 0 {
		c.refuse(at, Harmful, fmt.Sprintf("types nested too deeply: more than %d levels", maxDepth))
	}
	sum.hanging = hanging
}

// depths finds how deep types would lie with an update, those that wait included.
type depths struct {
	s      *Store
	places []where // by client and clock, once they are sorted
	first  int     // offset of the first struct that is new
}

// where says where some ids of a client lie that follow each other.
type where struct {
	span
	root, in bool // in a root, or in the type with the id on; else beside the item with the id on
	on       id
	new      bool // it comes with the update
	types    bool // there are types among them
	typeAt   int  // offset of the first one
	loose    bool // below something that is missing
	depth    int  // in how many types they lie; below 0: notKnown or asked
}

const (
	notKnown = -1
	asked    = -2
)

// add adds a struct, which is new if it has an offset in the update.
func (d *depths) add(client uint64, it *item, at int) {
	if d.first == 0 {
		d.first = at
	}
	w := where{span: span{client, it.clock, it.end()}, new: at > 0, types: it.kind == kindType, typeAt: at, depth: notKnown}
	switch {
	case it.kind == kindGC || it.form == parentRoot:
		w.root = true
	case it.form == parentItem:
		w.in, w.on = true, it.parent
	case it.info&hasOrigin != 0:
		w.on = it.origin
	default:
		w.on = it.right
	}
	if n := len(d.places); n > 0 && !w.root && !w.in && w.on == (id{client, it.clock - 1}) {
		if last := &d.places[n-1]; last.client == client && last.to == it.clock && last.new == w.new {
			if w.types && !last.types {
				last.types, last.typeAt = true, at
			}
			last.to = w.to
			return
		}
	}
	d.places = append(d.places, w)
}

// measure returns the depth of types below what is missing, and the offset of a struct
// that lies too deep or has others lie so; 0 if there is none.
func (d *depths) measure() (hanging, at int) {
	slices.SortStableFunc(d.places, func(a, b where) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.from, b.from))
	})
	for i := range d.places {
		w := &d.places[i]
		if !w.types {
			continue
		}
		d.find(i)
		switch depth := w.depth + 1; {
		case depth > maxDepth && w.new:
			return 0, w.typeAt
		case depth > maxDepth && w.loose:
			return 0, d.first
		case w.loose:
			hanging = max(hanging, depth)
		}
	}
	return hanging, 0
}

// find finds how deep the ids of a place lie.
func (d *depths) find(i int) {
	for stack := []int{i}; len(stack) > 0; {
		w := &d.places[stack[len(stack)-1]]
		on, there := 0, false
		switch {
		case w.depth >= 0:
		case w.root:
			w.depth = 0
		case d.s.integrableAt(w.on):
			w.depth = d.s.depth(d.s.entryAt(w.on).lineage)
		default:
			if on, there = d.placeOf(w.on); there && d.places[on].depth == notKnown {
				w.depth = asked // in a circle nothing lies deep
				stack = append(stack, on)
				continue
			}
			w.depth, w.loose = 0, true
			if there {
				w.depth, w.loose = max(d.places[on].depth, 0), d.places[on].loose
			}
		}
		if w.in && w.depth >= 0 {
			w.depth, w.in = w.depth+1, false
		}
		stack = stack[:len(stack)-1]
	}
}

func (d *depths) placeOf(at id) (int, bool) {
	i, ok := slices.BinarySearchFunc(d.places, at, func(w where, at id) int {
		return cmp.Or(cmp.Compare(w.client, at.client), cmp.Compare(w.from, at.clock))
	})
	if !ok {
		i--
	}
	return i, i >= 0 && d.places[i].client == at.client && d.places[i].to > at.clock
}
