package kvpin

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A registry that comes back after all leases have run out is asked about every
// pin by every node at once. If it cannot answer within the timeout, nothing that
// it does counts, lease renewals wait with the rest, and it never comes out of it.
// So a node works off little of what is owed at once to begin with, more as answers come, and
// half as many when one does not (docs/scale.md has the figures).
const (
	paceFirst = 4
	// paceMost is enough for ten thousand pins over a slow link within seconds, and
	// not so much that it crowds out connects.
	paceMost = 64
)

// pace says how many owed documents of one registry are worked off at once.
type pace struct {
	mu     sync.Mutex
	ended  sync.Cond // somebody has ended, or more may begin
	busy   int
	most   float64
	slowed time.Time // when most was lowered last; zero: not since the lease is new
}

func newPace() *pace {
	p := &pace{most: paceFirst}
	p.ended.L = &p.mu
	return p
}

// begin waits for a turn, which end gives back.
func (p *pace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy >= int(p.most) {
		p.ended.Wait()
	}
	p.busy++
}

func (p *pace) end() {
	p.mu.Lock()
	p.busy--
	p.mu.Unlock()
	p.ended.Signal()
}

// restart is for a new lease: how fast the registry is, is to be found out again.
func (p *pace) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most, p.slowed = paceFirst, time.Time{}
}

// answered takes the outcome of a request.
func (p *pace) answered(sent time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled): // says nothing
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrUnsettled):
		if !sent.Before(p.slowed) { // what was sent before has been reckoned with
			p.most, p.slowed = max(p.most/2, 1), time.Now()
		}
	case errors.Is(err, ErrUnavailable): // refused at once
	case p.slowed.IsZero():
		p.most = min(p.most+1, paceMost)
	default:
		p.most = min(p.most+1/p.most, paceMost)
	}
	p.ended.Signal()
}
