package kvpin

import (
	"sync"
	"time"
)

// fence knows which writes can no longer land. Writes of one connection reach the
// bucket in their order, and the bucket's stream takes them one after the other;
// so once a later write of the same connection was acknowledged, an earlier one
// without an answer has landed or never will. Lease renewals pass every few
// seconds. The zero value is ready.
type fence struct {
	mu          sync.Mutex
	clock       uint64 // counts passages: a clock that never stands still
	incarnation uint64 // of the last acknowledged write
	last        uint64 // when that write was sent
}

// passage is one write through the fence.
type passage struct {
	incarnation uint64
	sent        uint64
}

func (f *fence) enter(incarnation uint64) passage {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock++
	return passage{incarnation, f.clock}
}

// passed notes that the write was acknowledged, in the given incarnation.
func (f *fence) passed(p passage, incarnation uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.incarnation == incarnation && (f.incarnation != incarnation || p.sent > f.last) {
		f.incarnation, f.last = incarnation, p.sent
	}
}

// unsettledWrite is a write whose outcome is unknown.
type unsettledWrite struct {
	expect      uint64 // it lands only on this revision
	incarnation uint64
	broken      bool   // the connection changed while it was under way
	given       uint64 // on the fence's clock, when it was given up
	at          time.Time
}

// unsettledLife is how long a write without an answer is reckoned with when its
// connection is gone: Linux gives TCP retransmission up after about 15 minutes.
const unsettledLife = 20 * time.Minute

// unsettled returns the record of a write that was given up just now.
func (f *fence) unsettled(expect, before, after uint64) unsettledWrite {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock++
	return unsettledWrite{expect: expect, incarnation: before, broken: before != after, given: f.clock, at: time.Now()}
}

// over reports whether the write can no longer land, whatever the key holds: a
// read that begins now shows its outcome.
func (f *fence) over(d unsettledWrite) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !d.broken && f.incarnation == d.incarnation && f.last > d.given {
		return true
	}
	return time.Since(d.at) > unsettledLife
}
