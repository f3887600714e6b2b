package main

import (
	"math/bits"
	"time"
)

// faults has pods die and come back: one of region 0, all of region 1. What they
// leave to nobody is swept a while later.
func (r *region) faults() {
	var struck []int
	switch r.id {
	case 0:
		struck = []int{0}
	case 1:
		for p := range r.pods {
			struck = append(struck, p)
		}
	default:
		return
	}
	switch at := time.Duration(r.now) * step; at {
	case faultAt:
		for _, p := range struck {
			r.pods[p].up = false
			r.pods[p].born++
		}
		for i := range r.docs {
			for _, p := range struck {
				r.orphan(uint32(i), p)
			}
		}
	case faultAt + backAfter:
		for _, p := range struck {
			r.pods[p].up = true
		}
	case faultAt + leaseTTL + sweepAfter:
		r.sweep()
	}
}

// stayAway is the share of the clients of a dead pod that do not come back.
const stayAway = 0.03

// orphan ends a document's sessions on a pod that died. The clients dial again.
func (r *region) orphan(i uint32, p int) {
	d := &r.docs[i]
	if d.open>>p&1 == 0 {
		return
	}
	n := int(d.sessions[p])
	before := r.loadOf(d)
	d.sessions[p] = 0
	d.all -= uint32(n)
	d.serial[p]++
	r.load.sub(before)
	r.load.add(r.loadOf(d))
	r.pods[p].sessions -= n
	r.Present -= int64(n)
	r.Left += int64(n)
	for range n {
		if r.random.Float64() >= stayAway {
			r.after(time.Duration(r.random.Float64()*float64(retryMost)), event{doc: i, kind: visit})
		}
	}
	r.shut(d, p)
	d.dead |= 1 << p
	d.known &^= 1 << p
	d.orphan = d.open == 0
}

// sweep gives the grace period to what no living node holds.
func (r *region) sweep() {
	for i := range r.docs {
		d := &r.docs[i]
		if !d.pinned || !d.orphan {
			continue
		}
		c := r.count(uint32(i))
		c.read(int64(1 + bits.OnesCount16(d.dead))) // the pin, and the leases of its holders
		c.registry.Orphans[c.second]++
		d.dead = 0
		r.fade(d, uint32(i), grace)
	}
}

// load is what the documents of a region that are open ask of its NATS and its
// pods, in thousandths per second.
type load struct {
	Appends    int64 // published and captured by the history
	Copies     int64 // of appends, delivered to other pods
	Awareness  int64 // published
	Beacons    int64 // published
	Signals    int64 // copies of both, delivered to other pods
	Deliveries int64 // edits written to clients
	Shared     int64 // documents on more than one pod, in whole ones
}

func (l *load) add(m load) { l.sum(m, 1) }
func (l *load) sub(m load) { l.sum(m, -1) }

func (l *load) sum(m load, sign int64) {
	l.Appends += sign * m.Appends
	l.Copies += sign * m.Copies
	l.Awareness += sign * m.Awareness
	l.Beacons += sign * m.Beacons
	l.Signals += sign * m.Signals
	l.Deliveries += sign * m.Deliveries
	l.Shared += sign * m.Shared
}

// loadOf is what one document asks for.
func (r *region) loadOf(d *document) load {
	pods := int64(bits.OnesCount16(d.open))
	if pods == 0 {
		return load{}
	}
	sessions := int64(d.all)
	typing := min(int64(1000*r.Typing)*sessions, 1000*int64(r.MostTyping)) // thousandths of a person
	var l load
	l.Appends = typing * int64(1000*r.Keys) / 1000
	l.Deliveries = l.Appends * max(sessions-1, 0)
	if pods == 1 {
		l.Appends = min(l.Appends, int64(1000*time.Second/batchWindow))
		return l
	}
	l.Shared = 1
	l.Awareness = typing * int64(1000*r.Cursors) / 1000
	l.Beacons = 1000 * pods * int64(time.Second) / int64(beaconEvery)
	l.Copies = l.Appends * (pods - 1)
	l.Signals = (l.Awareness + l.Beacons) * (pods - 1)
	return l
}
