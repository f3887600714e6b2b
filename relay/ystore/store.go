// Package ystore holds a document as what a relay needs of it: a set of Yjs
// structs and deletions, without the linked list that editors need.
//
// A Store takes updates (Yjs V1) in any order, duplicated, overlapping and with
// gaps, and answers with state vectors, differences and full states that real
// Yjs clients apply. What was deleted keeps its place and loses its content;
// structs that are one run of typing are kept as one.
//
// The package is pure: no I/O, no goroutines, no clock. A Store must not be used
// concurrently; the bytes it returns may be, and must not be changed.
package ystore

import (
	"bytes"
	"slices"
	"sync"
)

// DefaultNesting is the nesting of values that Limits allows by default. Yjs
// itself reads values recursively and fails at some thousands.
const DefaultNesting = 200

// Limits caps what a document may come to cost. Zero fields do not cap, except
// MaxNesting. An update that exceeds one is refused as a whole.
type Limits struct {
	// MaxBytes caps the encoded document, as estimated by Stats.Bytes:
	// ErrDocumentTooLarge. What it takes in memory is capped as well, at heldTimes as
	// much: no document of ordinary editing comes near that.
	MaxBytes int
	// MaxClients caps the client ids that have structs or deletions:
	// ErrTooManyClients.
	MaxClients int
	// MaxDeleteRanges caps the delete ranges of one update, and the ranges that
	// the document holds ahead of their content: ErrTooManyDeleteRanges.
	MaxDeleteRanges int
	// MaxPendingStructs caps the structs that wait behind a gap of their client:
	// ErrTooManyPending.
	MaxPendingStructs int
	// MaxNesting caps the nesting of values, DefaultNesting if zero: ErrTooDeep.
	MaxNesting int
}

// Store is a document. The zero value is not usable; see New.
type Store struct {
	limits Limits
	keep   bool // the content of what is deleted, see keep.go

	runs
	digest uint64 // of the deletions
	types  types
	sweep  sweep
	causal causal

	full       []byte // the encoded state, nil when it has to be made
	deletesEnc []byte // the encoded delete set, nil when it has to be made

	scratch *scratch // only while a method runs
}

// scratch is working memory that stores share, so that an idle document holds
// none.
type scratch struct {
	it        item
	reads     reads // the update's structs as check has read them
	sum       summary
	edit      edit
	newcomers []uint64 // clients without a run that an update names
	blocks    []id     // its client blocks: client and offset
	clocks    []id     // the clock of each client behind its block, if it has no gap
	waits     []wait   // its structs that hang on what is not there before it
	later     bool     // something waits: where structs lie is found when all are stored
	placed    bool     // where some of its structs lie was known when they were stored
	spans     []span
	cuts      []span // delete ranges that are taken together, at most maxCuts
	fresh     []span // what it brought
	gone      []span // what it deleted
	chain     []link
	doomed    []span // what has to be deleted with it, see place.go
	deep      []span // what of that loses its content even where deleted content is kept
	apart     []span // what has to be kept one by one
	toPart    int    // how many ids that is
	settled   []span // what it made integrable
	restored  bool   // it told more of ids that are there; what of it is fresh, clients lack
	queue     []*run // to settle
	order     order
	copies    []copied // blocks whose structs are copied, see copy.go
	starts    []entry  // where they begin in the update
	given     bool     // leaves may lie in the update
	deferring bool     // where structs lie is found when all of the update are stored
	deferred  []span   // and these are they
	missing   []span   // what types.missing begins in
	lent      bool     // types.missing is in it
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
func (x *scratch) summary() *summary {
	x.sum = summary{}
	return &x.sum
}

// begin forgets what the update before has brought and deleted.
func (x *scratch) begin() {
	x.fresh = x.fresh[:0]
	x.gone = x.gone[:0]
	x.settled = x.settled[:0]
	x.doomed = x.doomed[:0]
	x.apart = x.apart[:0]
	x.deep = x.deep[:0]
	x.deferred, x.deferring = x.deferred[:0], false
	x.restored, x.toPart = false, 0
}

// span is a range of one client's ids.
type span struct{ client, from, to uint64 }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxScratch is above what goes back into the pool, in elements of each slice.
const maxScratch = 1 << 14

func (s *Store) acquire() { s.scratch = scratches.Get().(*scratch) }

func (s *Store) release() {
	x := s.scratch
	if x.lent { // nobody looked whether it can be placed by now
		s.types.missing = s.scratch.giveBack(s.types.missing, slices.Clone(s.types.missing))
	}
	if s.totals.given.size > 0 {
		s.totals.letGo(s.list)
	}
	s.scratch = nil
	// The bits of all of them together: maxScratch is a power of two.
	if cap(x.newcomers)|cap(x.blocks)|cap(x.clocks)|cap(x.spans)|cap(x.waits)|cap(x.fresh)|cap(x.gone)|cap(x.doomed)|
		cap(x.chain)|cap(x.apart)|cap(x.deep)|cap(x.settled)|cap(x.missing)|cap(x.queue)|cap(x.copies)|cap(x.starts)/4|cap(x.deferred)|
		len(x.order.made)|len(x.order.lanes)|cap(x.edit.out.buf)/8 >= maxScratch {
		return
	}
	x.it.forget()
	x.reads.forget()
	x.edit.r, x.edit.l = nil, nil
	scratches.Put(x)
}

// New returns an empty document.
func New(limits Limits) *Store {
	if limits.MaxNesting == 0 {
		limits.MaxNesting = DefaultNesting
	}
	return &Store{limits: limits, runs: runs{byClient: make(map[uint64]*run)}, types: types{plain: true}}
}

// Stats counts what a document holds.
type Stats struct {
	Structs        int // structs of the encoded document, gaps not counted
	Clients        int // client ids with structs or deletions
	Bytes          int // size of the encoded document, estimated from above
	Held           int // memory that the document takes
	Deleted        int // tombstones and ranges deleted ahead of their content
	Pending        int // structs that wait behind a gap of their client
	PendingDeletes int // delete ranges ahead of their content
}

// Stats returns the counts. It costs nothing.
func (s *Store) Stats() Stats {
	return Stats{
		Structs:        s.totals.entries - s.totals.continued,
		Clients:        len(s.list),
		Bytes:          s.size(),
		Held:           s.held(),
		Deleted:        s.totals.deleted,
		Pending:        s.totals.pending,
		PendingDeletes: s.totals.ahead,
	}
}

// What things take on the wire, roughly.
const (
	clientBytes = 20 // the head of a client's block
	rangeBytes  = 6  // a delete range
	cutBytes    = 32 // a delete range, with the two structs that it may add
)

// size estimates the encoded size.
func (s *Store) size() int {
	return s.totals.bytes + clientBytes*len(s.list) + rangeBytes*s.totals.deleted
}

// DeleteDigest returns a number that is equal for documents that know the same
// deletions, in whatever order they learnt of them and whether or not they know
// what was deleted: state vectors do not show deletions. It costs nothing.
func (s *Store) DeleteDigest() uint64 { return s.digest }

// Differs reports whether two documents hold different structs or deletions.
func (s *Store) Differs(t *Store) bool {
	return s.digest != t.digest || s.PendingDigest() != t.PendingDigest() || !bytes.Equal(s.StateVector(), t.StateVector())
}

// PendingDigest returns a number that is equal for documents that know the same structs
// behind gaps of their clients, which state vectors do not show, and 0 if there are none.
// It costs as much as there are.
func (s *Store) PendingDigest() (digest uint64) {
	if s.totals.pending == 0 {
		return 0
	}
	for _, r := range s.list {
		if r.gaps == 0 || r.next >= r.tail {
			continue
		}
		l := r.leafAt(r.next)
		for i := l.find(r.next); l != nil; l, i = l.next, 0 {
			for ; i < len(l.ents); i++ {
				if e := l.ents[i]; known(e.kind()) && e.clock() > r.next {
					digest += digestOf(r.client, e.clock(), l.endOf(i))
				}
			}
		}
	}
	return digest
}

// digestOf is what a range of ids, such as a deleted one, adds to a digest. The sum over adjacent
// ranges is that of their union, so that it does not matter how they are cut.
func digestOf(client, from, to uint64) uint64 {
	return mix(client, to) - mix(client, from)
}

// mix scatters an id over 64 bits (the finalizer of splitmix64, twice).
func mix(client, clock uint64) uint64 {
	x := client * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x ^= x>>27 ^ clock*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
