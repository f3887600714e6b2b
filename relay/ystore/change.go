package ystore

import (
	"slices"
	"sync"
)

// change is an update on its way into a document: what is read of it, then what it brings,
// deletes, and makes integrable. An idle document has none. Its memory serves the next one, of
// whatever document. Whoever only reads a document, and needs memory for it, takes one as well.
type change struct {
	*Store // that it is made to

	reading
	result
	placing
	edit  edit
	order order
	queue []*run // whose structs may have become integrable
	spans []span
	cuts  []span // delete ranges that are taken together, at most maxCuts
	given bool   // leaves may lie in the update
}

// reading is what check has learnt of an update, which it changes nothing for.
type reading struct {
	it        item
	reads     reads // its structs as check has read them
	sum       summary
	newcomers []uint64 // clients without a run that it names
	blocks    []id     // its client blocks: client and offset
	clocks    []id     // the clock of each client behind its block, if it has no gap
	waits     []wait   // its structs that hang on what is not there before it
	copies    []copied // blocks whose structs are copied, see copy.go
	starts    []entry  // where they begin in the update
}

// result is what an update has changed.
type result struct {
	fresh      []span // what it brought
	gone       []span // what it deleted
	integrable []span // what it made integrable
	restored   bool   // it told more of ids that are there; what of it is fresh, clients lack
}

// placing is where the structs of an update lie, as far as that is open, and what follows
// from it: see place.go.
type placing struct {
	later     bool   // something waits: where structs lie is found when all are stored
	placed    bool   // where some of its structs lie was known when they were stored
	deferring bool   // where structs lie is found when all of the update are stored
	deferred  []span // and these are they
	missing   []span // what types.missing begins in
	lent      bool   // types.missing is in it
	chain     []link
	doomed    []span // what has to be deleted with it
	deep      []span // what of that loses its content even where deleted content is kept
	apart     []span // what has to be kept one by one
	toPart    int    // how many ids that is
}

// maxRead is how many structs an update may have that is read only once.
const maxRead = minCopied - 1

// reads are the structs of an update, each with its client, or the number of them if it is
// above maxRead: they are read again then.
type reads struct {
	structs [maxRead]struct {
		item
		client uint64
	}
	n int
}

// next returns where the update's next struct is to be kept; nil if it is not.
func (x *reads) next(client uint64) *item {
	if x.n++; x.n > maxRead {
		return nil
	}
	r := &x.structs[x.n-1]
	r.client = client
	return &r.item
}

// forget lets go of the update.
func (x *reads) forget() {
	for i := range x.structs[:min(x.n, maxRead)] {
		x.structs[i].forget()
	}
	x.n = 0
}

// summary returns an empty one.
func (x *reading) summary() *summary {
	x.sum = summary{}
	return &x.sum
}

// begin forgets what the update before has brought and deleted.
func (x *change) begin() {
	x.fresh = x.fresh[:0]
	x.gone = x.gone[:0]
	x.integrable = x.integrable[:0]
	x.doomed = x.doomed[:0]
	x.apart = x.apart[:0]
	x.deep = x.deep[:0]
	x.deferred, x.deferring = x.deferred[:0], false
	x.restored, x.toPart = false, 0
}

// span is a range of one client's ids.
type span struct{ client, from, to uint64 }

var changes = sync.Pool{New: func() any { return new(change) }}

// maxKept is above what goes back into the pool, in elements of each slice.
const maxKept = 1 << 14

// change takes one for the time of a method, which ends it.
func (s *Store) change() *change {
	x := changes.Get().(*change)
	x.Store = s
	return x
}

func (x *change) end() {
	if x.lent { // nobody looked whether it can be placed by now
		x.types.missing = x.giveBack(x.types.missing, slices.Clone(x.types.missing))
	}
	if x.totals.given.size > 0 {
		x.totals.letGo(x.list)
	}
	x.Store = nil
	// The bits of all of them together: maxKept is a power of two.
	if cap(x.newcomers)|cap(x.blocks)|cap(x.clocks)|cap(x.spans)|cap(x.waits)|cap(x.fresh)|cap(x.gone)|cap(x.doomed)|
		cap(x.chain)|cap(x.apart)|cap(x.deep)|cap(x.integrable)|cap(x.missing)|cap(x.queue)|cap(x.copies)|cap(x.starts)/4|cap(x.deferred)|
		len(x.order.made)|len(x.order.lanes)|cap(x.edit.out.buf)/8 >= maxKept {
		return
	}
	x.it.forget()
	x.reads.forget()
	x.edit.r, x.edit.l = nil, nil
	changes.Put(x)
}
