package history

import (
	"sync"
	"sync/atomic"
)

// A document of 100 MiB is appended in a hundred parts at once. JetStream drops
// what exceeds 128 MiB in its queue, and a server gives up a pod that it cannot
// feed; so large messages go out only while few bytes of their kind wait for
// their acknowledgement.
const (
	paceSize   = 128 << 10 // from here on a message is large
	paceWindow = 24 << 20  // bytes of large messages under way
)

// pace holds back large messages, and whatever is appended to their subjects
// behind them, so that every subject keeps its order. Its queue is worked off by
// the goroutine of the acknowledgements alone.
type pace struct {
	h     *History
	turn  chan struct{} // holds one notice for that goroutine
	holds atomic.Int64  // how many appends wait; not 0 while any may have to

	mu     sync.Mutex
	flying int            // bytes of large messages under way
	queue  []held         // in the order of their appends
	waits  map[string]int // how many wait, or are being sent, by subject
	closed bool
}

// held is an append that waits for its turn.
type held struct {
	subject string
	shard   int
	data    []byte
	done    func(uint64, error)
}

func (a held) weight() int {
	if len(a.data) < paceSize {
		return 0
	}
	return len(a.data)
}

func newPace(h *History) *pace {
	return &pace{h: h, turn: make(chan struct{}, 1), waits: make(map[string]int)}
}

// add publishes an append now or later; taken is false if the pace does not care
// about it.
func (p *pace) add(a held) (taken bool, err error) {
	p.mu.Lock()
	switch behind := p.waits[a.subject] > 0; {
	case p.closed:
		p.mu.Unlock()
		return true, ErrClosed
	case a.weight() == 0 && !behind:
		p.mu.Unlock()
		return false, nil
	case behind || len(p.queue) > 0 || !p.fitsLocked(a):
		p.queue = append(p.queue, a)
		p.waits[a.subject]++
		p.holds.Add(1)
		p.mu.Unlock()
		return true, nil
	}
	p.flying += a.weight()
	p.mu.Unlock()
	if err := p.send(a); err != nil {
		p.mu.Lock()
		p.flying -= a.weight()
		p.mu.Unlock()
		p.wake()
		return true, err
	}
	return true, nil
}

func (p *pace) fitsLocked(a held) bool {
	return p.flying == 0 || p.flying+a.weight() <= paceWindow
}

// send publishes an append whose weight is counted.
func (p *pace) send(a held) error {
	return p.h.append(a.subject, a.shard, a.data, func(seq uint64, err error) {
		p.mu.Lock()
		p.flying -= a.weight()
		p.mu.Unlock()
		a.done(seq, err)
		if err != nil {
			p.fail(a.subject, err)
		}
		p.advance()
	})
}

// advance sends what may go now.
func (p *pace) advance() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 || !p.fitsLocked(p.queue[0]) {
			p.mu.Unlock()
			return
		}
		a := p.queue[0]
		p.queue[0] = held{}
		p.queue = p.queue[1:]
		p.flying += a.weight()
		p.mu.Unlock()
		err := p.send(a)
		// Only now may the caller's next append to the subject go past the queue.
		p.mu.Lock()
		p.forgetLocked(a.subject)
		if err != nil {
			p.flying -= a.weight()
		}
		p.mu.Unlock()
		if err != nil {
			a.done(0, err)
			p.fail(a.subject, err)
		}
	}
}

// fail ends what waits on a subject on which an append failed: it would be the
// rest of something incomplete, and wait in vain as long.
func (p *pace) fail(subject string, err error) {
	p.failAll(err, func(a held) bool { return a.subject == subject })
}

func (p *pace) failAll(err error, match func(held) bool) {
	p.mu.Lock()
	var failed []held
	kept := p.queue[:0]
	for _, a := range p.queue {
		if match(a) {
			failed = append(failed, a)
			p.forgetLocked(a.subject)
		} else {
			kept = append(kept, a)
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	p.mu.Unlock()
	for _, a := range failed {
		a.done(0, err)
	}
}

func (p *pace) forgetLocked(subject string) {
	p.holds.Add(-1)
	if p.waits[subject]--; p.waits[subject] == 0 {
		delete(p.waits, subject)
	}
}

// wake has the queue looked at although no acknowledgement comes.
func (p *pace) wake() {
	select {
	case p.turn <- struct{}{}:
	default:
	}
}

// close refuses further appends and fails those that wait.
func (p *pace) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.failAll(ErrClosed, func(held) bool { return true })
}
