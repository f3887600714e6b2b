// Package roster lists what is on a node, for operators.
package roster

import (
	"slices"
	"sync"
	"time"
)

// Roster lists what is on a node in the order in which it came. A listing can go
// on after any id, so pages need nothing to be kept between them, and no page
// holds the lock for longer than its rows take. Init comes first; the other methods
// may be called concurrently.
type Roster[T any] struct {
	mu      sync.Mutex
	last    uint64
	entries []Entry[T] // ids ascending
	gone    int        // entries that are not there any more
}

// Entry is one value and the id that it was given.
type Entry[T any] struct {
	ID    uint64
	Value T
	there bool
}

// idsPerSecond is how many ids a node gives out on average at most, so that those
// of its next start are larger. They stay below 2^53, which JSON keeps exact.
const idsPerSecond = 1 << 20

// Init makes the roster ready: ids that it gives out are larger than those of a node
// that started earlier.
func (r *Roster[T]) Init(start time.Time) { r.last = uint64(start.Unix()) * idsPerSecond }

// Add lists the value and returns its id.
func (r *Roster[T]) Add(value T) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.entries = append(r.entries, Entry[T]{ID: r.last, Value: value, there: true})
	return r.last
}

// Remove takes an entry off the list.
func (r *Roster[T]) Remove(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := r.find(id)
	if !found || !r.entries[i].there {
		return
	}
	r.entries[i] = Entry[T]{ID: id}
	if r.gone++; r.gone > 64 && r.gone > len(r.entries)/2 {
		kept := make([]Entry[T], 0, 2*(len(r.entries)-r.gone))
		for _, e := range r.entries {
			if e.there {
				kept = append(kept, e)
			}
		}
		r.entries, r.gone = kept, 0
	}
}

// find returns where the id is, or would be.
func (r *Roster[T]) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(r.entries, id, func(e Entry[T], id uint64) int {
		switch {
		case e.ID < id:
			return -1
		case e.ID > id:
			return 1
		}
		return 0
	})
}

// After returns up to n entries that come after the id, and whether there may be
// more.
func (r *Roster[T]) After(id uint64, n int) (found []Entry[T], more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := r.find(id + 1)
	for ; i < len(r.entries); i++ {
		if !r.entries[i].there {
			continue
		}
		if len(found) == n {
			return found, true
		}
		found = append(found, r.entries[i])
	}
	return found, false
}

// All returns the values.
func (r *Roster[T]) All() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := make([]T, 0, len(r.entries)-r.gone)
	for _, e := range r.entries {
		if e.there {
			values = append(values, e.Value)
		}
	}
	return values
}

// Len returns how many there are.
func (r *Roster[T]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries) - r.gone
}
