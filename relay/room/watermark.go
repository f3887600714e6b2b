package room

// watermark says up to which change everything that the room took is durable:
// acknowledged by the history of the present epoch. The room numbers each change as
// it takes it, from its own clients and from other pods alike; number 1 stands for
// what it loaded. Guarded by Room.mu.
//
// Invariant: a number up to taken that lies in none of the spans, nor in one of a
// peer, is in an acknowledged append or snapshot of the present life. The counters
// of log messages would not do: a batch is taken before its counter is given, and a
// second try gets a new one.
type watermark struct {
	taken   uint64 // the number of the last change
	covered uint64 // an acknowledged snapshot of the present life holds everything up to here

	pending span     // waits for the outbox
	flights []flight // on their way to the history
	kept    span     // their append failed, and will be tried again
	owed    span     // only a snapshot that is owed will carry them
	// unconfirmed changes are held, and perhaps nowhere else: heard from a pod that
	// fell silent or from the store of one, or appended to a history that was left
	// or lost. Only a snapshot makes them durable.
	unconfirmed span

	// life counts the histories that the room had. What was under way to an
	// earlier one proves nothing about the present.
	life      uint64
	flown     uint64 // the last flight's id
	covers    uint64 // the highest number that a snapshot on its way in this life will cover
	snapshots int    // on their way, in whatever life
}

// span is the numbers from low to high, since its oldest was taken. The zero span
// is empty.
type span struct {
	low, high uint64
	since     int64 // by clock
}

func (s span) with(o span) span {
	switch {
	case o.low == 0:
		return s
	case s.low == 0:
		return o
	}
	return span{low: min(s.low, o.low), high: max(s.high, o.high), since: min(s.since, o.since)}
}

// above is the part of a span above n.
func (s span) above(n uint64) span {
	if s.high <= n {
		return span{}
	}
	s.low = max(s.low, n+1)
	return s
}

// flight is an append on its way. A snapshot's span is what is owed, if anything;
// it covers everything up to covers.
type flight struct {
	id, life uint64
	span
	covers uint64
}

func (w *watermark) init() { w.taken, w.life = 1, 1 }

// take numbers a change of the room's own clients, which waits for the outbox now.
func (w *watermark) take() {
	w.taken++
	if w.pending.low == 0 {
		w.pending = span{low: w.taken, since: clock()}
	}
	w.pending.high = w.taken
}

// hear numbers a change that came from another pod.
func (w *watermark) hear() span {
	w.taken++
	return span{low: w.taken, high: w.taken}
}

// unconfirm has changes of other pods count as held here, and perhaps nowhere else.
func (w *watermark) unconfirm(s span) { w.unconfirmed = w.unconfirmed.with(s) }

// depart is the outbox taking what is pending.
func (w *watermark) depart() flight {
	f := w.launch(w.pending)
	w.pending = span{}
	return f
}

// departSnapshot is a snapshot that is encoded now, with what only it carries.
func (w *watermark) departSnapshot(s span) flight {
	f := w.launch(s)
	f.covers = w.taken
	w.covers = max(w.covers, f.covers)
	w.snapshots++
	return f
}

func (w *watermark) launch(s span) flight {
	w.flown++
	f := flight{id: w.flown, life: w.life, span: s}
	if s.low != 0 {
		w.flights = append(w.flights, f)
	}
	return f
}

// land takes a flight off the list. What it carried is durable, unless the caller
// keeps it or owes it.
func (w *watermark) land(f flight) {
	if f.covers != 0 {
		w.snapshots--
	}
	for i := range w.flights {
		if w.flights[i].id == f.id {
			w.flights = append(w.flights[:i], w.flights[i+1:]...)
			return
		}
	}
}

// acknowledge is a flight that arrived.
func (w *watermark) acknowledge(f flight) {
	w.land(f)
	if f.covers != 0 && f.life == w.life {
		w.covered = max(w.covered, f.covers)
		w.unconfirmed = w.unconfirmed.above(w.covered)
	}
}

// fail is a flight that did not arrive, or perhaps did. What it carried is kept or
// owed by the caller; a snapshot that only came in between covers nothing.
func (w *watermark) fail(f flight) {
	w.land(f)
	if f.covers != 0 && f.life == w.life && f.covers == w.covers {
		w.covers = w.covered
	}
}

// retry is what was kept, back in the outbox.
func (w *watermark) retry() {
	w.pending = w.pending.with(w.kept)
	w.kept = span{}
}

// reopen is the room's history left or lost: nothing that it acknowledged counts.
func (w *watermark) reopen() {
	w.life++
	w.covered, w.covers = 0, 0
	w.unconfirmed = span{low: 1, high: w.taken, since: clock()}
}

// owe has the next snapshot carry what is kept and what is unconfirmed.
func (w *watermark) owe() {
	w.owed = w.owed.with(w.kept).with(w.unconfirmed)
	w.kept, w.unconfirmed = span{}, span{}
}

// own is the number up to which all changes of the room's own clients are durable.
func (w *watermark) own() uint64 { return w.before(w.covered) }

// landed is the number up to which none of them has yet to be appended. One that a snapshot
// covers is durable, and is appended for the other pods all the same.
func (w *watermark) landed() uint64 { return w.before(0) }

// before is the number before the first change above n that is on its way to the history.
func (w *watermark) before(n uint64) uint64 {
	low := w.taken + 1
	for _, s := range [...]span{w.pending, w.kept, w.owed} {
		low = lowest(low, s, n)
	}
	for i := range w.flights {
		low = lowest(low, w.flights[i].span, n)
	}
	return low - 1
}

func (w *watermark) lowest(low uint64, s span) uint64 { return lowest(low, s, w.covered) }

// lowest is low, or the first number of a span above n if that is lower.
func lowest(low uint64, s span, n uint64) uint64 {
	if s = s.above(n); s.low != 0 {
		return min(low, s.low)
	}
	return low
}

// oldest is when, by clock, the oldest change of the room's own clients was taken
// that is not durable; 0 if all are.
func (w *watermark) oldest() int64 {
	s := w.pending.with(w.kept).with(w.owed)
	for i := range w.flights {
		s = s.with(w.flights[i].span)
	}
	if s.above(w.covered).low == 0 {
		return 0
	}
	return s.since
}
