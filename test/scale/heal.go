package main

import (
	"math/rand/v2"
	"time"
)

// Outage is a registry that comes back after all leases have run out: every node
// takes a new lease at once and goes through the pins of all that it holds. The
// registry answers in the order of arrival, as fast as was measured; what takes
// longer than the timeout is given up by its node and done by the registry all the
// same, in vain.
type Outage struct {
	Nodes, Held int // nodes, and how many pins of this registry each holds
	// A share of the nodes is simulated, on as large a share of the registry: what
	// counts is how much each node may have under way for how much is done.
	Share         int
	Reads, Writes float64       // of the registry, per second
	Distance      time.Duration // to the farthest node and back; nodes are spread evenly
	Workers       int           // documents that a node reconciles at once
	Fixed         bool          // always so many; otherwise fewer while answers fail to come
	Most          time.Duration // how long is simulated at most
	Seed          uint64
}

// Healing is how an outage ended.
type Healing struct {
	Half, Nearly, All time.Duration // until so many pins had their holders' new leases; 0: not within the time
	LeasesLost        int           // again, while healing
	Requests          int
	InVain            int           // answered after their node had given them up, or dropped
	Silent            time.Duration // of the mean node: how long it refused new documents
}

// limits of nats-server, each by default: what goes beyond is dropped, or refused.
const (
	readQueue  = 10_000 // JetStream API requests; a full queue is dropped as a whole
	writeQueue = 10_000 // messages that wait for a stream; further ones are refused
)

type healing struct {
	Outage
	Healing
	random *rand.Rand
	queue  agenda
	now    time.Duration
	nodes  []*healer
	reads  line
	writes line
	left   int // pins that are not validated
	total  int
}

// line is a queue of the registry, first come, first served.
type line struct {
	each    time.Duration // per request
	free    time.Duration // when what waits is done
	limit   int
	epoch   int // counts the times it was dropped
	whole   bool
	dropped int
}

// take lets a request wait, and says when it is done; ok is false if it is refused.
func (l *line) take(now time.Duration) (done time.Duration, ok bool) {
	l.free = max(l.free, now)
	if int((l.free-now)/l.each) >= l.limit {
		l.dropped++
		if l.whole {
			l.epoch++
			l.free = now
		}
		return now, false
	}
	l.free += l.each
	return l.free, true
}

// healer is one node's side.
type healer struct {
	trip     time.Duration // to the registry and back
	until    time.Duration // of the lease; it is gone after
	lease    int           // counts the leases
	keeper   int           // counts when the lease keeper is due: only the last counts
	asking   bool          // the lease keeper waits for an answer
	waiting  []int32       // pins that are due
	busy     int           // workers under way
	pace     float64       // how many may be
	slowed   time.Duration // when pace was lowered last
	attempts []uint8       // by pin
	landed   []bool        // the pin has the current lease
	// as in kvpin's answers
	answered, silence, silentUntil time.Duration
	quiet                          time.Duration // in all
}

type matter int

const (
	leaseDue matter = iota
	pinDue
	arrival
	answer
)

type request int

const (
	leaseRead request = iota
	leaseWrite
	leaseRenewal
	pinRead
	pinWrite
)

// item is something that happens at a time.
type item struct {
	at     time.Duration
	serial int
	matter matter
	what   request
	node   int32
	pin    int32
	lease  int
	epoch  int // of the line in which it waits
	sent   time.Duration
	ok     bool
}

// agenda is a binary heap of what is to come, the next first. container/heap would box each
// item and swap where one moves: a third of the time of the simulation.
type agenda []item

func (i *item) before(o *item) bool { return i.at < o.at || i.at == o.at && i.serial < o.serial }

func (a *agenda) push(i item) {
	*a = append(*a, i)
	h := *a
	hole := len(h) - 1
	for hole > 0 {
		parent := (hole - 1) / 2
		if !i.before(&h[parent]) {
			break
		}
		h[hole] = h[parent]
		hole = parent
	}
	h[hole] = i
}

func (a *agenda) pop() item {
	h := *a
	next, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*a = h
	if len(h) == 0 {
		return next
	}
	hole := 0
	for {
		child := 2*hole + 1
		if child >= len(h) {
			break
		}
		if other := child + 1; other < len(h) && h[other].before(&h[child]) {
			child = other
		}
		if !h[child].before(&last) {
			break
		}
		h[hole] = h[child]
		hole = child
	}
	h[hole] = last
	return next
}

// heal simulates the end of an outage.
func heal(o Outage) Healing {
	h := &healing{Outage: o, random: rand.New(rand.NewPCG(o.Seed, 7))}
	nodes := o.Nodes / o.Share
	h.reads = line{each: time.Duration(float64(o.Share) / o.Reads * 1e9), limit: readQueue / o.Share, whole: true}
	h.writes = line{each: time.Duration(float64(o.Share) / o.Writes * 1e9), limit: writeQueue / o.Share}
	for i := range nodes {
		n := &healer{
			trip:     o.Distance * time.Duration(i+1) / time.Duration(nodes),
			attempts: make([]uint8, o.Held), landed: make([]bool, o.Held), answered: -1, silence: -1, pace: paceFirst,
		}
		if o.Fixed {
			n.pace = float64(o.Workers)
		}
		h.nodes = append(h.nodes, n)
		h.leaseSoon(n, int32(i), h.upTo(retryLease))
	}
	h.left, h.total = nodes*o.Held, nodes*o.Held
	for len(h.queue) > 0 && h.All == 0 {
		next := h.queue.pop()
		if h.now = next.at; h.now > o.Most {
			break
		}
		h.happen(next)
	}
	for _, n := range h.nodes {
		h.Silent += n.quiet / time.Duration(nodes)
	}
	h.InVain += h.writes.dropped
	return h.Healing
}

const retryLease = renewEvery / 10

func (h *healing) upTo(d time.Duration) time.Duration {
	return time.Duration(h.random.Float64() * float64(d))
}

func (h *healing) put(i item) {
	i.serial = len(h.queue) + h.Requests<<20
	h.queue.push(i)
}

func (h *healing) happen(i item) {
	n := h.nodes[i.node]
	switch i.matter {
	case leaseDue:
		if i.lease == n.keeper {
			h.renewLease(n, i.node)
		}
	case pinDue:
		n.waiting = append(n.waiting, i.pin)
		h.work(n, i.node)
	case arrival:
		h.arrive(n, i)
	case answer:
		h.answered(n, i)
	}
}

// send has a request arrive at the registry, half a trip later.
func (h *healing) send(n *healer, node int32, what request, pin int32) {
	h.Requests++
	h.put(item{at: h.now + n.trip/2, matter: arrival, what: what, node: node, pin: pin, lease: n.lease, sent: h.now})
}

// arrive has the registry take a request, and its node take the answer or give up.
func (h *healing) arrive(n *healer, i item) {
	l := &h.writes
	if i.what == leaseRead || i.what == pinRead {
		l = &h.reads
	}
	done, ok := l.take(h.now)
	i.epoch = l.epoch
	if done -= h.now; ok && i.what == pinWrite && i.lease == n.lease {
		h.land(n, i.pin, h.now+done)
	}
	i.matter, i.ok = answer, ok
	i.at = h.now + done + n.trip/2
	if l.whole && !ok || i.at > i.sent+timeout {
		i.ok, i.at = false, i.sent+timeout
	}
	h.put(i)
}

// land is a write that the registry does, whether its node still waits or not.
func (h *healing) land(n *healer, pin int32, at time.Duration) {
	if n.landed[pin] {
		return
	}
	n.landed[pin] = true
	h.left--
	done := h.total - h.left
	if h.Half == 0 && 2*done >= h.total {
		h.Half = at
	}
	if h.Nearly == 0 && 100*done >= 99*h.total {
		h.Nearly = at
	}
	if h.left == 0 {
		h.All = at
	}
}

// answered takes an answer, or that none came in time.
func (h *healing) answered(n *healer, i item) {
	late := !i.ok && h.now == i.sent+timeout
	if i.what == leaseRead || i.what == pinRead {
		if i.ok && i.epoch != h.reads.epoch && h.reads.free <= h.now { // dropped while it waited
			i.ok, late = false, true
		}
	}
	if late {
		h.InVain++
		if i.sent > n.answered {
			if h.now >= n.silentUntil {
				h.leaseSoon(n, i.node, 0) // kvpin has the lease keeper ask again at once
			}
			n.quiet += h.now + time.Second - max(n.silentUntil, h.now)
			n.silence, n.silentUntil = i.sent, h.now+time.Second
		}
	} else if i.ok {
		n.answered = max(n.answered, i.sent)
		if n.answered > n.silence && n.silentUntil > h.now {
			n.quiet -= n.silentUntil - h.now
			n.silentUntil = 0
		}
	}
	switch i.what {
	case leaseRead, leaseWrite, leaseRenewal:
		h.leaseAnswered(n, i)
	default:
		h.pinAnswered(n, i)
	}
}
