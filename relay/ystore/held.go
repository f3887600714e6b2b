package ystore

import (
	"fmt"
	"unsafe"
)

// What a document takes in memory beyond its leaves' entries and bytes, which are counted
// as they are. Maps are taken at their mean load, of two thirds.
const (
	leafMemory   = int(unsafe.Sizeof(leaf{})) + 24        // and its place in a directory
	entryMemory  = int(unsafe.Sizeof(entry{}))            //
	runMemory    = int(unsafe.Sizeof(run{})) + 28 + 20    // and in the map and both lists
	typeMemory   = 40 + 4                                 // in the map, and beside it
	spanMemory   = int(unsafe.Sizeof(span{}))             //
	waiterMemory = 28 + 24 + int(unsafe.Sizeof(waiter{})) // with a map's place and a list of one
)

// heldTimes is how many times MaxBytes a document may take in memory.
const heldTimes = 8

// heldFree is what it may always take.
const heldFree = 1 << 20

// MostHeld is how many bytes of memory a byte of an update can come to take: one letter
// of each of many client ids does.
const MostHeld = 48

// held is the memory that the leaf takes.
func (l *leaf) held() int { return leafMemory + entryMemory*cap(l.ents) + cap(l.buf) }

// held is the memory that the document takes, of which its encodings are no part: they
// go with the next change.
func (s *Store) held() int {
	return s.totals.held + s.totals.given.unused() + runMemory*len(s.list) + typeMemory*len(s.types.list) + spanMemory*cap(s.types.missing) +
		waiterMemory*s.causal.most
}

// Growth estimates how much more memory the document would take with update; 0 if that
// brings nothing new. Its errors are those of Apply.
func (s *Store) Growth(update []byte) (int, error) {
	x := s.change()
	defer x.end()
	sum := x.summary()
	if err := x.check(update, true, sum); err != nil {
		return 0, err
	}
	return growth{x, update, sum}.held(), nil
}

// checkHeld holds the memory that the document would take against the limit.
func (g growth) checkHeld() error {
	x := g.x
	most := heldTimes*x.limits.MaxBytes + heldFree
	if x.held()+MostHeld*g.sum.end <= most {
		return nil
	}
	if n := g.held(); n > 0 && x.held()+n > most {
		return fmt.Errorf("%w: %d bytes in memory, at most %d", ErrDocumentTooLarge, x.held()+n, most)
	}
	return nil
}

// held estimates how much more memory the document would take.
func (g growth) held() (n int) {
	x, it := g.x, &g.x.it
	x.eachStruct(g.update, func(client uint64, _, size int) bool {
		if r := x.run(client); it.kind != kindSkip && (r == nil || !r.holds(it.clock, it.end()) || x.restores(r, it.kind, it.clock, it.end())) {
			n += size + entryMemory + leafMemory/maxEntries
			if it.form == parentItem {
				n += typeMemory
			}
		}
		return true
	})
	x.eachRange(g.update, g.sum, func(d span) bool {
		if r := x.run(d.client); r == nil || !r.lacks(d.from, d.to) {
			n += cutBytes + 2*entryMemory
		}
		return true
	})
	return n + (runMemory+leafMemory)*len(x.newcomers)
}
