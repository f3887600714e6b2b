package relay

import (
	"fmt"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// guard is what a session may do: session.Guard.
type guard struct {
	budget ratelimit.SessionBudget
	turns  *ratelimit.Turns
	turn   bool         // it has one
	meter  *quota.Meter // nil: operations are not counted
	limit  int
}

func (g *gate) guard(grant *authn.Grant) *guard {
	q := &guard{budget: ratelimit.NewSessionBudget(g.limits.Sessions, time.Now()), turns: g.turns, limit: grant.Limits.OpsPerMinute}
	if ceiling := g.limits.OpsPerMinute; ceiling > 0 && (q.limit == 0 || ceiling < q.limit) {
		q.limit = ceiling
	}
	if q.limit > 0 {
		q.meter = g.ops.Open(grant.AppID())
	}
	return q
}

func (q *guard) close() {
	if q.meter != nil {
		q.meter.Close()
	}
}

func (q *guard) Received(cost int) time.Duration   { return q.budget.Received(cost, time.Now()) }
func (q *guard) Framed(control bool) time.Duration { return q.budget.Framed(control, time.Now()) }
func (q *guard) Answered(bytes int) time.Duration  { return q.budget.Answered(bytes, time.Now()) }

// Fast reports whether the session is above its rates.
func (q *guard) Fast() bool { return q.budget.Fast() }

// Begin has a session that is fast wait for its turn, so that it takes no more than its
// share of the processors from others. Nobody who has a turn waits for anything slow.
func (q *guard) Begin() {
	if q.turn = q.budget.Fast(); q.turn {
		q.turns.Take()
	}
}

// End gives the turn of a message back.
func (q *guard) End() {
	if q.turn {
		q.turns.Give()
	}
}

func (q *guard) Operation() (reason string) {
	if q.meter != nil && q.meter.Count(q.limit) {
		return fmt.Sprintf("Rate limit exceeded: %d ops/min", q.limit)
	}
	return ""
}

// connGuard is what a connection of several documents may do besides what their sessions
// may: conn.Guard.
func (g *gate) connGuard() conn.Guard {
	return &guard{budget: ratelimit.NewSessionBudget(g.limits.Sessions, time.Now())}
}
