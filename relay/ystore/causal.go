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
// A store whose clients' ids never had a gap needs none of that, since there the
// first struct in causal order that waits has its clock noted exactly. It begins with
// the first gap.
type causal struct {
	on      bool
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

// track begins to follow what can be integrated.
func (s *Store) track() {
	if s.causal.on {
		return
	}
	s.causal = causal{on: true, waiting: make(map[uint64]*waiters)}
	for _, r := range s.list {
		s.settle(r)
	}
}

// settle moves the settled clock of a run as far as it goes, and those of the runs that
// wait for it. What was passed is appended to the scratch's settled ranges.
func (s *Store) settle(r *run) {
	queue := append(s.scratch.queue[:0], r)
	for len(queue) > 0 {
		last := len(queue) - 1
		r, queue[last] = queue[last], nil // the scratch outlives the document
		queue = queue[:last]
		from := r.settled
		s.settleRun(r)
		if r.settled == from {
			continue
		}
		s.scratch.settled = addSpan(s.scratch.settled, r.client, from, r.settled)
		w := s.causal.waiting[r.client]
		for w != nil && len(*w) > 0 && (*w)[0].clock < r.settled {
			woken := heap.Pop(w).(waiter).run
			woken.waits = false
			s.causal.count--
			queue = append(queue, woken)
		}
		if w != nil && len(*w) == 0 {
			delete(s.causal.waiting, r.client)
		}
	}
	s.scratch.queue = queue
}

// settleRun passes what hangs only on what is settled, and has the run wait for the
// first that does not.
func (s *Store) settleRun(r *run) {
	for !r.waits && r.settled < r.next {
		l := r.leafAt(r.settled)
		for i := l.find(r.settled); i < len(l.ents) && r.settled < r.next; i++ {
			// The rest of a struct of which a part was passed hangs on that part.
			if e := l.ents[i]; e.clock() == r.settled && !e.continues() {
				if at, blocked := s.hangsOn(r, l, i); blocked {
					s.wait(r, at)
					return
				}
			}
			r.settled = min(l.endOf(i), r.next)
		}
	}
}

// hangsOn returns an id that entry i of l hangs on and that is not settled.
func (s *Store) hangsOn(r *run, l *leaf, i int) (at id, blocked bool) {
	e := l.ents[i]
	if e.kind() == kindGC {
		return id{}, false
	}
	var it item
	it.decodeHead(l.buf, int(e.off))
	switch {
	case it.info&hasOrigin != 0 && s.unsettled(r, it.origin):
		return it.origin, true
	case it.info&hasRight != 0 && s.unsettled(r, it.right):
		return it.right, true
	case it.form == parentItem && s.unsettled(r, it.parent):
		return it.parent, true
	}
	return id{}, false
}

// unsettled reports whether r has to wait for an id. Ids of its own that a struct
// names lie before it.
func (s *Store) unsettled(r *run, at id) bool {
	if at.client == r.client {
		return false
	}
	o := s.run(at.client)
	return o == nil || at.clock >= o.settled
}

func (s *Store) wait(r *run, at id) {
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

// settleFresh follows what the update that is being applied has made integrable.
func (s *Store) settleFresh() {
	for i, d := range s.scratch.fresh {
		if i == 0 || s.scratch.fresh[i-1].client != d.client {
			s.settle(s.run(d.client))
		}
	}
}

// encodeDelivery writes what clients are to be sent for the update that is being
// applied: what it brought, and what it has made integrable. It is fresh itself where
// that is the same.
func (s *Store) encodeDelivery(fresh []byte) []byte {
	s.scratch.settled = union(s.scratch.settled)
	s.scratch.fresh = union(s.scratch.fresh)
	if within(s.scratch.settled, s.scratch.fresh) {
		return fresh
	}
	s.scratch.gone = union(s.scratch.gone)
	s.scratch.spans = append(append(s.scratch.spans[:0], s.scratch.fresh...), s.scratch.settled...)
	s.scratch.spans = union(s.scratch.spans)
	return s.appendGone(s.appendBlocks(nil, s.scratch.spans))
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

// Settled returns the state vector of a Yjs client that was sent all that the store
// has, each time that something came: less than StateVector where structs hang on what
// is missing. A client that gets the difference to it has everything in one update.
func (s *Store) Settled() []byte {
	if !s.causal.on {
		return s.StateVector()
	}
	return s.vector(func(r *run) uint64 { return r.settled })
}
