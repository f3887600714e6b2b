package ystore

import (
	"slices"
	"sort"
)

// maxPage bounds a directory page.
const maxPage = 256

// directory finds a client's leaves by clock, in two levels, so that adding a
// leaf moves little memory however long the document is.
type directory struct{ pages []*page }

type page struct {
	starts []uint64 // of the leaves
	leaves []*leaf
}

// locate returns the page and the index of the last leaf that starts at or
// before clock.
func (d *directory) locate(clock uint64) (pi, li int) {
	pi = sort.Search(len(d.pages), func(i int) bool { return d.pages[i].starts[0] > clock }) - 1
	starts := d.pages[pi].starts
	lo, hi := 0, len(starts)
	for hi-lo > 1 {
		if mid := int(uint(lo+hi) >> 1); starts[mid] <= clock {
			lo = mid
		} else {
			hi = mid
		}
	}
	return pi, lo
}

func (d *directory) find(clock uint64) *leaf {
	pi, li := d.locate(clock)
	return d.pages[pi].leaves[li]
}

// add files a leaf that starts behind the first one.
func (d *directory) add(l *leaf) {
	if len(d.pages) == 0 {
		d.pages = []*page{{starts: []uint64{l.start()}, leaves: []*leaf{l}}}
		return
	}
	pi, li := d.locate(l.start())
	p := d.pages[pi]
	p.starts = slices.Insert(p.starts, li+1, l.start())
	p.leaves = slices.Insert(p.leaves, li+1, l)
	if len(p.leaves) <= maxPage {
		return
	}
	// A page that grew at its end stays full: documents are mostly appended to.
	cut := maxPage / 2
	if li+1 == maxPage && pi+1 == len(d.pages) {
		cut = maxPage
	}
	q := &page{slices.Clone(p.starts[cut:]), slices.Clone(p.leaves[cut:])}
	p.starts = slices.Clip(slices.Delete(p.starts, cut, len(p.starts)))
	p.leaves = slices.Clip(slices.Delete(p.leaves, cut, len(p.leaves)))
	d.pages = slices.Insert(d.pages, pi+1, q)
}

// remove takes out a leaf, which is not the first one.
func (d *directory) remove(l *leaf) {
	pi, li := d.locate(l.start())
	p := d.pages[pi]
	p.starts = slices.Delete(p.starts, li, li+1)
	p.leaves = slices.Delete(p.leaves, li, li+1)
	if len(p.leaves) == 0 {
		d.pages = slices.Delete(d.pages, pi, pi+1)
	}
}
