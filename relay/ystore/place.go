package ystore

import "slices"

// Where an item lies, in which type and whether under a key of it, the wire says only
// of items without neighbours; others lie where their neighbours do. Each entry keeps
// the answer, once it is known: the type as its lineage, and a bit for the key. It is
// known as soon as its neighbours' is, even behind a gap: Yjs 14 integrates what lies there.
//
// Two things follow from it.
//
//   - A deleted item becomes a GC struct, which costs next to nothing, if the type that it
//     lies in is gone too: receivers turn everything in it into GC anyway.
//   - Of ids of one client that follow each other under a key, all but the last are
//     deleted. In clients the last is the value, and each took the place of the one
//     before. But several that come as one struct are one value to them; cut in two later,
//     the first part is neither the value nor deleted, and they throw when they collect
//     the map. What was not deleted yet, the store deletes (bury), and says so with what is
//     new.
//
// Beside GC nobody can say any more whether there was a key. Clients turn what comes there
// into GC, but one that has not heard of it puts it under the key, so such ids are kept
// one by one.
type lineage uint32

const (
	unresolved lineage = iota
	missing            // looked for in vain: what it hangs on is not there
	inRoot             // a root type, which nobody can delete
	collected          // GC itself, in GC, or beside it (keyed then, as it may be): the type is gone
	firstType          // index of the first nested type
)

func (l lineage) located() bool { return l > missing }

// maxDepth bounds how deep types lie in each other: clients delete and read them
// recursively. docs/ystore.md has what they bear.
const maxDepth = 200

// types are the nested types that items name as their parents.
type types struct {
	byID map[id]lineage
	list []typeInfo // by lineage, from firstType on

	plain   bool   // nothing has come that lies elsewhere than in the list of a root
	deepest int    // depth of types of which it is known where they lie, at most
	hanging int    // depth of types that wait, below what they wait for, at most
	missing []span // ids of which it is not known where they lie
	looked  bool   // some of them have been looked for in vain
	later   bool   // it is looked for when more updates have come
	unite   int    // how many spans of them there may be before they are sorted and joined
}

type typeInfo struct {
	gone  bool
	depth uint16
}

func (s *Store) dead(l lineage) bool {
	return l == collected || l >= firstType && s.types.list[l-firstType].gone
}

// depth is how many types an item of that lineage lies in, roots excepted.
func (s *Store) depth(l lineage) int {
	if l < firstType {
		return 0
	}
	return int(s.types.list[l-firstType].depth)
}

// lineageOfType returns the lineage of items whose parent is the type with that id;
// unresolved if that is not known yet.
func (s *Store) lineageOfType(at id) lineage {
	if l, ok := s.types.byID[at]; ok {
		return l
	}
	e := s.entryAt(at)
	switch {
	case e.kind() == kindGC:
		return collected
	case !e.located():
		return unresolved
	case s.types.byID == nil:
		s.types.byID = make(map[id]lineage)
	}
	l := firstType + lineage(len(s.types.list))
	s.types.byID[at] = l
	s.types.list = append(s.types.list, typeInfo{e.deleted(), uint16(min(s.depth(e.lineage)+1, 1<<15))})
	return l
}

// typeDeleted notes that the type with that id was deleted: tombstones in it
// can be collected.
func (s *Store) typeDeleted(at id) {
	if l, ok := s.types.byID[at]; ok && !s.types.list[l-firstType].gone {
		s.types.list[l-firstType].gone = true
		s.sweep.wanted = true
	}
}

// entryAt returns the entry of an id; that of a gap if there is none.
func (rs *runs) entryAt(at id) entry {
	r := rs.run(at.client)
	if r == nil || at.clock >= r.end {
		return entry{word: kindSkip}
	}
	l := r.leafAt(at.clock)
	return l.ents[l.find(at.clock)]
}

// locate finds where an item lies that is about to be stored, without what of it was
// there, if that is known already.
func (x *change) locate(r *run, it *item) {
	if x.deferring {
		x.deferred = addSpan(x.deferred, r.client, it.clock, it.end())
		return
	}
	if x.types.plain && !x.later && it.info&hasSub == 0 && it.form != parentItem && it.kind != kindGC && it.kind != kindType {
		it.lineage = inRoot
		return
	}
	if x.place(it) {
		x.placed = true
		x.judge(r.client, it)
	} else {
		x.lack(&x.types, span{r.client, it.clock, it.end()})
	}
}

// placeMissing finds where what the update brought lies, and what waited for it. If nothing
// that it brought could be placed when it was stored, what waits cannot be either: its
// way ends at what is not there, as before, or at what the update brought. So updates
// with gaps, as Merge has them, cost no look at all that waits for each.
func (x *change) placeMissing() {
	if !x.placed || x.types.later {
		if len(x.types.missing) > x.types.unite {
			x.types.missing = union(x.types.missing)
			x.types.unite = 2*len(x.types.missing) + minUnite
		}
		if x.lent { // it stays
			x.types.missing = x.giveBack(x.types.missing, slices.Clone(x.types.missing))
		}
		return
	}
	if len(x.types.missing) == 0 {
		return
	}
	spans := union(x.types.missing)
	if x.types.looked {
		for _, d := range spans { // entries that were joined and cut hand the mark on
			x.eachEntry(d, func(p place) {
				if e := &p.l.ents[p.i]; e.lineage == missing {
					e.lineage = unresolved
				}
			})
		}
	}
	var left []span
	for _, d := range spans {
		x.eachEntry(d, func(p place) {
			if e := p.l.ents[p.i]; known(e.kind()) && !x.resolve(d.client, p) {
				left = addSpan(left, d.client, e.clock(), p.l.endOf(p.i))
			}
		})
	}
	if x.lent {
		left = x.giveBack(spans, left)
	}
	x.types.missing, x.types.looked = left, len(left) > 0
}

// allPlain reports whether nothing that the update brings waits once it is there as a whole,
// and none of it is of a sort that lies elsewhere than in the list of a root. Nothing waited
// before, and there is no gap.
//
// Whatever a struct of it hangs on leads to one that names a root, so where it lies need not
// be looked for, if nothing in the store is of such a sort either.
func (x *change) allPlain(c *checker, sum *summary) bool {
	clocks := x.clocks
	if c.nested || len(clocks) == 0 || !sum.canonical || sum.circle || c.err != nil {
		return false
	}
	i := 0
	for _, w := range x.waits {
		if clocks[i].client != w.on.client {
			at, ok := slices.BinarySearchFunc(clocks, id{client: w.on.client}, descending)
			if !ok {
				return false
			}
			i = at
		}
		if w.on.clock >= clocks[i].clock {
			return false
		}
	}
	return true
}

// giveBack takes the memory of ranges back, and returns what takes their place.
func (x *change) giveBack(lent, instead []span) []span {
	x.missing, x.lent = lent[:0], false
	return instead
}

// minUnite is how many spans are not worth sorting.
const minUnite = 64

// eachEntry calls f for the entries that a range of ids lies in.
func (rs *runs) eachEntry(d span, f func(place)) {
	r := rs.run(d.client)
	for d.from < d.to {
		l := r.leafAt(d.from)
		i := l.find(d.from)
		for ; i < len(l.ents) && l.ents[i].clock() < d.to; i++ {
			rs.work += placeWork
			f(place{l, i})
		}
		d.from = l.end
	}
}

// resolve follows what an entry hangs on to what is known to lie somewhere, and notes
// it for all on the way. It reports whether it is known.
func (x *change) resolve(client uint64, p place) bool {
	if e := p.l.ents[p.i]; e.lineage != unresolved {
		return e.located()
	}
	var it item
	if p.l.head(p.i, &it); x.place(&it) { // nearly always: what it hangs on came before it
		p.l.ents[p.i].mark(&it)
		x.judge(client, &it)
		return true
	}
	chain := x.chain[:0]
	ok := true
	for {
		e := &p.l.ents[p.i]
		if e.lineage != unresolved {
			ok = e.located()
			break
		}
		e.lineage = missing // before it is known: that ends a circle as well
		chain = append(chain, link{client, p})
		p.l.head(p.i, &it)
		if it.form == parentRoot || it.kind == kindGC {
			break
		}
		on := it.hangs()[0]
		if p, ok = x.placeAt(on); !ok {
			break
		}
		client = on.client
	}
	for i := len(chain) - 1; i >= 0 && ok; i-- {
		l := chain[i]
		l.at.l.head(l.at.i, &it)
		x.place(&it)
		l.at.l.ents[l.at.i].mark(&it)
		x.judge(l.client, &it)
	}
	clear(chain) // the memory outlives the document
	x.chain = chain[:0]
	return ok
}

// link is an entry on the way of resolve.
type link struct {
	client uint64
	at     place
}

// placeAt returns the entry of an id that is known.
func (rs *runs) placeAt(at id) (place, bool) {
	r := rs.run(at.client)
	if r == nil || at.clock >= r.end {
		return place{}, false
	}
	l := r.leafAt(at.clock)
	i := l.find(at.clock)
	return place{l, i}, known(l.ents[i].kind())
}

// place finds where an item lies, and reports whether that is known.
func (s *Store) place(it *item) bool {
	it.keyed = it.form != parentImplied && it.info&hasSub != 0
	s.types.plain = s.types.plain && !it.keyed && it.form != parentItem && it.kind != kindGC
	switch {
	case it.kind == kindGC:
		it.lineage = collected
	case it.form == parentRoot:
		it.lineage = inRoot
	case it.form == parentItem:
		it.lineage = s.lineageOfType(it.parent)
	default:
		at := it.right
		if it.info&hasOrigin != 0 {
			at = it.origin
		}
		e := s.entryAt(at)
		if !e.located() {
			it.lineage = unresolved
			return false
		}
		it.lineage, it.keyed = e.lineage, e.keyed() || e.kind() == kindGC
		if it.info&hasRight != 0 && s.entryAt(it.right).kind() == kindGC {
			it.lineage, it.keyed = collected, true
		}
	}
	return it.lineage != unresolved
}

// judge has the store delete what clients delete of an item when they integrate it, or
// could not bear.
func (x *change) judge(client uint64, it *item) {
	from, to := it.clock, it.end()
	switch {
	case it.kind == kindGC:
		return
	case deleted(it.kind):
		if x.dead(it.lineage) {
			x.sweep.wanted = true
		}
	case it.lineage == collected && it.keyed && to-from > 1:
		if x.toPart += int(min(to-from, maxApart+1)); x.toPart > maxApart {
			x.doom(client, from, to)
		} else {
			x.apart = append(x.apart, span{client, from, to})
		}
	case it.kind == kindType:
		if d := x.depth(it.lineage) + 1; d > maxDepth {
			x.doom(client, from, to)
			if x.keep {
				x.deep = append(x.deep, span{client, from, to})
			}
		} else {
			x.types.deepest = max(x.types.deepest, d)
		}
	}
	if !it.keyed || it.lineage == collected {
		return
	}
	if it.info&hasOrigin != 0 && it.origin == (id{client, it.clock - 1}) {
		from--
	}
	x.doom(client, from, to-1)
}

func (x *placing) doom(client, from, to uint64) {
	if from < to {
		x.doomed = append(x.doomed, span{client, from, to})
	}
}

// maxApart is how many ids of an update are kept one by one. More are deleted: whoever has
// heard of the GC does not see them.
const maxApart = 1 << 14

// bury deletes what was doomed and takes apart what has to be, and reports whether
// anything was another way before.
func (x *change) bury() bool {
	if len(x.apart)+len(x.doomed)+len(x.deep) == 0 {
		return false
	}
	digest := x.digest
	for _, d := range x.apart {
		x.rewrite(x.run(d.client), d.from, d.to, pushApart)
	}
	for doomed := union(x.doomed); len(doomed) > 0; {
		n := 1
		for n < len(doomed) && n < maxCuts && doomed[n].client == doomed[0].client {
			n++
		}
		x.delete(x.run(doomed[0].client), doomed[:n])
		doomed = doomed[n:]
	}
	for _, d := range x.deep {
		x.rewrite(x.run(d.client), d.from, d.to, pushEmpty)
	}
	return x.digest != digest || len(x.apart)+len(x.deep) > 0
}

// rewrite has each of the entries that lie in a range of a run's ids replaced by what is pushed
// for it.
func (x *change) rewrite(r *run, from, to uint64, each func(ed *edit, it *item)) {
	for from < to {
		l := r.leafAt(from)
		end := min(to, l.end) // the edit may divide the leaf
		lo, hi := l.find(from), l.find(end-1)+1
		x.edit.begin(r, l, lo, hi)
		for i := lo; i < hi; i++ {
			var it item
			l.item(i, &it)
			each(&x.edit, &it)
		}
		x.commit(&x.edit)
		from = end
	}
}

// pushApart pushes the ids of an item one by one.
func pushApart(ed *edit, it *item) {
	for it.len > 1 && !it.deleted() {
		one := *it
		one.trimEnd(1)
		ed.push(&one)
		it.trimFront(ed.r.client, 1)
	}
	ed.push(it)
}
