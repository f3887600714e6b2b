package ystore

import (
	"cmp"
	"slices"
)

// wait says that a struct hangs on an id of another client.
type wait struct {
	client, clock uint64
	on            id
	at            int // where the struct stands in the update that is being read, 0 if it is older
}

// order walks structs in causal order, and finds those that can never be reached: they
// hang on each other in a circle, or on what cannot come. Ids of which nothing is known
// are taken to be there. Each struct is looked at once.
//
// The memory of a walk serves the next one: begin.
type order struct {
	lanes map[uint64]*orderLane // by client; nil is a client of whom nothing waits
	store *Store                // in which more waits of the clients; may be nil

	made  []*orderLane // all that there are; the first used of them are in lanes
	used  int
	stack []*orderLane // of a walk
}

// orderLane is what waits of one client.
type orderLane struct {
	client  uint64
	waits   []wait // by clock
	next    int    // the first that was not passed
	goal    uint64 // the walk leaves the lane when it is passed
	end     uint64 // first id that cannot come; maxClock+1 if all can
	walking bool
	on      *orderLane // for which it waited last; may be nil
}

// begin forgets what was walked before.
func (o *order) begin(waits []wait, store *Store) {
	if o.lanes == nil {
		o.lanes = make(map[uint64]*orderLane)
	}
	clear(o.lanes)
	o.store, o.used = store, 0
	for len(waits) > 0 {
		n := 1
		for n < len(waits) && waits[n].client == waits[0].client && waits[n].clock >= waits[n-1].clock {
			n++
		}
		l := o.lane(waits[0].client)
		if l == nil {
			o.lanes[waits[0].client] = o.newLane(waits[0].client, waits[:n:n])
		} else {
			l.waits = slices.Concat(l.waits, waits[:n])
			slices.SortFunc(l.waits, func(a, b wait) int { return cmp.Compare(a.clock, b.clock) })
		}
		waits = waits[n:]
	}
}

// end lets go of what was walked, since its memory may outlive it.
func (o *order) end() {
	for _, l := range o.made[:o.used] {
		l.waits, l.on = nil, nil
	}
	o.store = nil
}

func (o *order) newLane(client uint64, waits []wait) *orderLane {
	if o.used == len(o.made) {
		o.made = append(o.made, new(orderLane))
	}
	l := o.made[o.used]
	o.used++
	*l = orderLane{client: client, waits: waits, end: maxClock + 1}
	return l
}

func (o *order) older(client uint64) []wait {
	if o.store == nil {
		return nil
	}
	return o.store.waitsOf(client)
}

func (o *order) lane(client uint64) *orderLane {
	l, ok := o.lanes[client]
	if !ok {
		if waits := o.older(client); len(waits) > 0 {
			l = o.newLane(client, waits)
		}
		o.lanes[client] = l
	}
	return l
}

// cut says that of a client the ids from clock on cannot come.
func (o *order) cut(client, clock uint64) {
	l := o.lane(client)
	if l == nil {
		l = o.newLane(client, nil)
		o.lanes[client] = l
	}
	l.end = min(l.end, clock)
}

// walk passes all lanes, and ends each before the first struct that cannot be reached.
func (o *order) walk() {
	stack := o.stack
	for _, first := range o.made[:o.used] { // those that the walk itself finds are walked when it does
		first.goal, first.walking = maxClock, true
		for stack = append(stack[:0], first); len(stack) > 0; {
			l := stack[len(stack)-1]
			if on := o.pass(l); on != nil {
				stack = append(stack, on)
				continue
			}
			l.walking = false
			stack = stack[:len(stack)-1]
		}
	}
	o.stack = stack[:0]
}

// pass moves over a lane up to its goal. It returns the lane of which something must be
// passed before.
func (o *order) pass(l *orderLane) (on *orderLane) {
	for ; l.next < len(l.waits); l.next++ {
		w := l.waits[l.next]
		if w.clock > l.goal || w.clock >= l.end {
			return nil
		}
		on := l.on
		if on == nil || on.client != w.on.client {
			on = o.lane(w.on.client)
			l.on = on
		}
		switch {
		case on == nil:
		case w.on.clock >= on.end:
			l.end = w.clock
			return nil
		case on.next == len(on.waits) || on.waits[on.next].clock > w.on.clock:
		case on.walking:
			l.end = w.clock
			return nil
		default:
			on.goal, on.walking = w.on.clock, true
			return on
		}
	}
	return nil
}

// checkCircle refuses an update that closes a circle: structs that hang on each other
// are never integrated, whatever comes. Yjs 13 loses some of them besides. All that
// waits is looked through as far as the update hangs on it.
func (x *change) checkCircle(c *checker, sum *summary, limited bool) {
	waits := x.waits
	if len(waits) == 0 || c.err != nil {
		return
	}
	x.work += waitWork * len(waits)
	o := &x.order
	o.begin(waits, x.Store)
	defer o.end()
	o.walk()
	at := 0
	for _, l := range o.lanes {
		if l == nil || l.end > maxClock {
			continue
		}
		for _, w := range l.waits[l.next:] {
			if w.at > 0 && w.clock == l.end && (at == 0 || w.at < at) {
				at = w.at
			}
		}
	}
	if sum.circle = at > 0; sum.circle && limited {
		c.refuse(at, Harmful, "structs that wait for each other in a circle")
	}
}

// waitsOf returns what of a client's structs waits for others.
func (rs *runs) waitsOf(client uint64) (waits []wait) {
	r := rs.byClient[client]
	if r == nil {
		return nil
	}
	rs.eachWaiting(r, func(it *item) {
		for _, on := range it.hangs() {
			if on.client != client && !rs.integrableAt(on) {
				waits = append(waits, wait{client, it.clock, on, 0})
			}
		}
	})
	return waits
}

// eachWaiting calls f for the structs of a run that cannot be integrated, content
// excepted.
func (rs *runs) eachWaiting(r *run, f func(*item)) {
	at := r.reach()
	if at >= r.tail {
		return
	}
	var it item
	l := r.leafAt(at)
	for i := l.find(at); l != nil; l, i = l.next, 0 {
		rs.work += entryWork * (len(l.ents) - i)
		for ; i < len(l.ents); i++ {
			if e := l.ents[i]; e.clock() >= at && known(e.kind()) {
				l.head(i, &it)
				f(&it)
			}
		}
	}
}
