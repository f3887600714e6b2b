package ystore

import "container/heap"

// A Yjs client integrates a struct when it has what the struct hangs on; what it
// cannot integrate yet it keeps, and tries again when a clock that it noted is
// reached. Yjs 13.6 notes too little: of a struct behind a gap only the gap's end. A
// filling that hangs itself on something that waits for a part of that filling is
// then never tried again (docs/ystore.md tells the story).
//
// So the store knows how far a client that was sent everything has come, and what
// becomes integrable is sent once more, in one update that is complete in itself:
// such an update a client integrates whatever it kept and noted.
//
// A run of which nothing waits has come as far as its ids are there (run.reach). Only
// while something waits structs are followed, each once, in causal order.
type causal struct {
	most    int                 // waiters there have been at a time: maps do not shrink
	count   int                 // waiters there are
	waiting map[uint64]*waiters // by the client id that they wait for
}

// waiters are the runs whose next struct hangs on a client's ids, the lowest id first.
type waiters []waiter

type waiter struct {
	clock uint64 // that must have been integrated
	run   *run
}

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].clock < w[j].clock }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)        { *w = append(*w, x.(waiter)) }
func (w *waiters) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

// reach is the first id that a client which was sent everything cannot integrate.
func (r *run) reach() uint64 {
	if r.waits {
		return r.integrable
	}
	return r.next
}

// anyWaits reports whether anything waits.
func (s *Store) anyWaits() bool { return s.causal.count > 0 || s.totals.pending > 0 }

// integrableAt reports whether the struct with that id is there, and all that it hangs on.
func (rs *runs) integrableAt(at id) bool {
	r := rs.other
	if r == nil || r.client != at.client {
		if r = rs.byClient[at.client]; r == nil {
			return false
		}
		rs.other = r
	}
	return at.clock < r.reach()
}

// allMet reports whether nothing waits after an update before which nothing did, unless
// structs hang on each other in a circle.
func (x *change) allMet() bool {
	for _, w := range x.waits {
		if r := x.byClient[w.on.client]; r == nil || w.on.clock >= r.next {
			return false
		}
	}
	return x.totals.pending == 0
}

// integrateFresh follows what the update that is being applied has made integrable; its
// ranges are sorted. What was passed is appended to integrable.
func (x *change) integrateFresh() {
	queue := x.queue[:0]
	for i, d := range x.fresh {
		r := x.run(d.client)
		if i > 0 && x.fresh[i-1].client == d.client || r.waits || d.from >= r.next {
			continue
		}
		// The first that is new was the first that was missing. Until the run is followed,
		// it reaches no further.
		r.integrable, r.waits = d.from, true
		queue = append(queue, r)
	}
	for len(queue) > 0 {
		last := len(queue) - 1
		r := queue[last]
		queue[last] = nil // the memory outlives the document
		queue = queue[:last]
		from := r.integrable
		x.integrateRun(r)
		if r.reach() == from {
			continue
		}
		x.integrable = addSpan(x.integrable, r.client, from, r.reach())
		w := x.causal.waiting[r.client]
		for w != nil && len(*w) > 0 && (*w)[0].clock < r.reach() {
			queue = append(queue, heap.Pop(w).(waiter).run)
			x.causal.count--
		}
		if w != nil && len(*w) == 0 {
			delete(x.causal.waiting, r.client)
		}
	}
	x.queue = queue
	if x.causal.count == 0 {
		x.causal = causal{}
	}
}

// integrateRun passes what hangs only on what is integrable, and has the run wait for the
// first that does not.
func (s *Store) integrateRun(r *run) {
	r.waits = false
	var it item
	for r.integrable < r.next {
		l := r.leafAt(r.integrable)
		for i := l.find(r.integrable); i < len(l.ents) && r.integrable < r.next; i++ {
			// The rest of an entry of which a part was passed lies where that does.
			if l.ents[i].clock() == r.integrable {
				l.head(i, &it)
				for _, at := range it.hangs() {
					if at.client != r.client && !s.integrableAt(at) {
						s.wait(r, at)
						return
					}
				}
			}
			r.integrable = min(l.endOf(i), r.next)
		}
	}
}

func (s *Store) wait(r *run, at id) {
	if s.causal.waiting == nil {
		s.causal.waiting = make(map[uint64]*waiters)
	}
	w := s.causal.waiting[at.client]
	if w == nil {
		w = new(waiters)
		s.causal.waiting[at.client] = w
	}
	heap.Push(w, waiter{at.clock, r})
	r.waits = true
	s.causal.count++
	s.causal.most = max(s.causal.most, s.causal.count)
}

// encodeDelivery writes what clients are to be sent for the update that is being
// applied: what it brought, and what it has made integrable. It is fresh itself where
// that is the same.
func (x *change) encodeDelivery(fresh []byte) []byte {
	x.integrable = union(x.integrable)
	x.fresh = union(x.fresh)
	if within(x.integrable, x.fresh) {
		return fresh
	}
	x.spans = append(append(x.spans[:0], x.fresh...), x.integrable...)
	return x.encodeSpans(x.spans)
}

// within reports whether ranges lie in others. Both are sorted and apart.
func within(inner, outer []span) bool {
	for _, d := range inner {
		for len(outer) > 0 && (outer[0].client > d.client || outer[0].client == d.client && outer[0].to <= d.from) {
			outer = outer[1:]
		}
		if len(outer) == 0 || outer[0].client != d.client || outer[0].from > d.from || d.to > outer[0].to {
			return false
		}
	}
	return true
}

// Integrable returns the state vector of a Yjs client that was sent all that the store
// has, each time that something came: less than StateVector where structs hang on what
// is missing. A client that gets the difference to it has everything in one update.
func (s *Store) Integrable() []byte { return s.vector((*run).reach) }
