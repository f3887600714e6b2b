package ystore

import (
	"cmp"
	"slices"
)

// wait says that a struct hangs on an id of another client which was not there,
// with all that it hangs on, when the struct came.
type wait struct {
	client, clock uint64
	on            id
	at            int // where the struct stands in the update that is being checked
}

// maxWaits bounds those that a store remembers, since all of them are looked through
// for each update that waits. Circles over more are not seen.
const maxWaits = 1 << 6

// noteWaits notes what the struct that was read last waits for.
func (s *Store) noteWaits(c *checker, r *run, client, clock uint64, at int) {
	for _, on := range c.causes[:c.ncauses] {
		if s.settledAt(on) {
			continue
		}
		if r != nil {
			clock = max(clock, r.next) // what is known of the struct already waits for nothing
		}
		// One that waits for the same client's earlier id waits no longer for that.
		if n := len(s.scratch.waits); n > 0 {
			if w := s.scratch.waits[n-1]; w.client == client && w.clock <= clock && w.on.client == on.client && w.on.clock >= on.clock {
				continue
			}
		}
		s.scratch.waits = append(s.scratch.waits, wait{client, clock, on, at})
	}
}

// settledAt reports whether the struct with that id is there, and all that it
// hangs on.
func (s *Store) settledAt(at id) bool {
	r := s.other
	if r == nil || r.client != at.client {
		if r = s.runs[at.client]; r == nil {
			return false
		}
		s.other = r
	}
	if at.clock >= r.next {
		return false
	}
	if len(s.waits) == 0 {
		return true
	}
	i, _ := slices.BinarySearchFunc(s.waits, wait{client: at.client}, compareWaits)
	return i == len(s.waits) || s.waits[i].client != at.client || s.waits[i].clock > at.clock
}

func compareWaits(a, b wait) int {
	return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.clock, b.clock))
}

// checkCircle refuses an update that closes a circle: structs that hang on each
// other are never integrated, whatever comes. Yjs 13 loses some of them besides.
func (s *Store) checkCircle(c *checker) {
	if len(s.scratch.waits) == 0 || c.err != nil {
		return
	}
	for _, w := range unmet(s.allWaits(), func(uint64) uint64 { return maxClock + 1 }) {
		if w.at > 0 {
			c.refuse(w.at, Harmful, "structs that wait for each other in a circle")
			return
		}
	}
}

// keepWaits remembers what waits still, after an update was applied.
func (s *Store) keepWaits() {
	if len(s.scratch.waits) == 0 {
		return
	}
	kept := unmet(s.allWaits(), func(client uint64) uint64 {
		if r := s.runs[client]; r != nil {
			return r.next
		}
		return 0
	})
	for i := range kept {
		kept[i].at = 0
	}
	s.waits = nil
	if len(kept) > 0 {
		s.waits = slices.Clone(kept[:min(len(kept), maxWaits)])
	}
}

// allWaits returns those of the update that is being applied, and those before it.
func (s *Store) allWaits() []wait {
	s.work += waitWork * (len(s.scratch.waits) + len(s.waits))
	return append(append(make([]wait, 0, len(s.scratch.waits)+len(s.waits)), s.scratch.waits...), s.waits...)
}

// unmet sorts the waits and returns, in place, those that remain when each client
// has its ids up to what there says, and nothing else is missing.
func unmet(waits []wait, there func(client uint64) uint64) []wait {
	slices.SortFunc(waits, compareWaits)
	// The same by what they wait for. As a client gets on, those that wait for it are
	// met in this order: each is looked at once.
	byTarget := make([]int, len(waits))
	for i := range byTarget {
		byTarget[i] = i
	}
	slices.SortFunc(byTarget, func(i, j int) int {
		return cmp.Or(cmp.Compare(waits[i].on.client, waits[j].on.client), cmp.Compare(waits[i].on.clock, waits[j].on.clock))
	})
	met := make([]bool, len(waits))
	next := make(map[uint64][2]int) // of each client: its first wait that is not met, the first that waits for it
	for i := len(waits) - 1; i >= 0; i-- {
		next[waits[i].client] = [2]int{i, len(waits)}
	}
	for i := len(byTarget) - 1; i >= 0; i-- {
		client := waits[byTarget[i]].on.client
		at, ok := next[client]
		if !ok {
			at[0] = len(waits)
		}
		next[client] = [2]int{at[0], i}
	}
	todo := make([]uint64, 0, len(next))
	for client := range next {
		todo = append(todo, client)
	}
	for len(todo) > 0 {
		client := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		at := next[client]
		for at[0] < len(waits) && waits[at[0]].client == client && met[at[0]] {
			at[0]++
		}
		reach := there(client)
		if at[0] < len(waits) && waits[at[0]].client == client {
			reach = min(reach, waits[at[0]].clock)
		}
		for ; at[1] < len(byTarget); at[1]++ {
			i := byTarget[at[1]]
			w := waits[i]
			if w.on.client != client || w.on.clock >= reach {
				break
			}
			met[i] = true
			if next[w.client][0] == i {
				todo = append(todo, w.client)
			}
		}
		next[client] = at
	}
	kept := waits[:0]
	for i, w := range waits {
		if !met[i] {
			kept = append(kept, w)
		}
	}
	return kept
}
