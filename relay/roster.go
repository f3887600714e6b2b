package relay

import (
	"slices"
	"sync"
	"time"
)

// roster lists what is on a node in the order in which it came. A listing can go
// on after any id, so pages need nothing to be kept between them, and no page
// holds the lock for longer than its rows take.
type roster[T any] struct {
	mu      sync.Mutex
	last    uint64
	entries []entry[T] // ids ascending
	gone    int        // entries that are not there any more
}

type entry[T any] struct {
	id    uint64
	there bool
	value T
}

// idsPerSecond is how many ids a node gives out on average at most, so that those
// of its next start are larger. They stay below 2^53, which JSON keeps exact.
const idsPerSecond = 1 << 20

func (r *roster[T]) init(start time.Time) { r.last = uint64(start.Unix()) * idsPerSecond }

// add lists the value and returns its id.
func (r *roster[T]) add(value T) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.entries = append(r.entries, entry[T]{r.last, true, value})
	return r.last
}

// remove takes an entry off the list.
func (r *roster[T]) remove(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := r.find(id)
	if !found || !r.entries[i].there {
		return
	}
	r.entries[i] = entry[T]{id: id}
	if r.gone++; r.gone > 64 && r.gone > len(r.entries)/2 {
		kept := make([]entry[T], 0, 2*(len(r.entries)-r.gone))
		for _, e := range r.entries {
			if e.there {
				kept = append(kept, e)
			}
		}
		r.entries, r.gone = kept, 0
	}
}

// find returns where the id is, or would be.
func (r *roster[T]) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(r.entries, id, func(e entry[T], id uint64) int {
		switch {
		case e.id < id:
			return -1
		case e.id > id:
			return 1
		}
		return 0
	})
}

// after returns up to n entries that come after the id, and whether there may be
// more.
func (r *roster[T]) after(id uint64, n int) (found []entry[T], more bool) {
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

// all returns the values.
func (r *roster[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := make([]T, 0, len(r.entries)-r.gone)
	for _, e := range r.entries {
		if e.there {
			values = append(values, e.value)
		}
	}
	return values
}

func (r *roster[T]) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries) - r.gone
}
