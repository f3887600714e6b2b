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
