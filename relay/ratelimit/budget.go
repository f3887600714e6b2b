package ratelimit

import (
	"cmp"
	"time"
)

// Budget is a token bucket: so much a second, saved up to a burst. It has no
// lock and allocates nothing: a session's reader owns its budgets. The zero
// Budget sets no limit.
type Budget struct {
	perSecond float64
	burst     float64
	left      float64
	at        time.Time // when left was right
}

// NewBudget makes a full budget. A burst below a second's worth is raised to it;
// a rate of zero sets no limit.
func NewBudget(perSecond, burst float64, now time.Time) Budget {
	burst = max(burst, perSecond)
	return Budget{perSecond: perSecond, burst: burst, left: burst, at: now}
}

// Take spends n if the budget has it.
func (b *Budget) Take(n float64, now time.Time) bool {
	if b.perSecond <= 0 {
		return true
	}
	b.fill(now)
	if b.left < n {
		return false
	}
	b.left -= n
	return true
}

// Spend spends n in any case and returns how long to pause until the budget is
// not overdrawn any more. A reader that pauses by it lets TCP slow its client down.
func (b *Budget) Spend(n float64, now time.Time) time.Duration {
	if b.perSecond <= 0 {
		return 0
	}
	b.fill(now)
	b.left -= n
	if b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / b.perSecond * float64(time.Second))
}

func (b *Budget) fill(now time.Time) {
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.left = min(b.burst, b.left+elapsed.Seconds()*b.perSecond)
		b.at = now
	}
}

// fast is how many seconds' worth of a budget make a spender fast.
const fast = 2

// isFast reports whether what was spent lately is so much more than the rate that it came
// out of what was saved up.
func (b *Budget) isFast() bool { return b.perSecond > 0 && b.burst-b.left > fast*b.perSecond }

// SessionRates are the operator's ceilings for one session, per second. Zero
// sets no limit.
type SessionRates struct {
	Messages float64 // frames of any type
	Bytes    float64 // of frames, and of the work that they are
	Answers  float64 // bytes of SyncStep2 sent in answer to SyncStep1

	// Saved-up allowance; the defaults are ten seconds' worth.
	MessageBurst, ByteBurst, AnswerBurst float64
}

// DefaultSessionRates leave room for anything that an editor does, a first
// upload of a large document included.
func DefaultSessionRates() SessionRates {
	return SessionRates{
		Messages: 500, MessageBurst: 5000,
		Bytes: 16 << 20, ByteBurst: 512 << 20,
		Answers: 8 << 20, AnswerBurst: 512 << 20,
	}
}

// SessionBudget is what one session has left. It belongs to the session's reader.
type SessionBudget struct {
	messages, bytes, answers Budget
}

// NewSessionBudget makes the budgets of a session that begins now.
func NewSessionBudget(r SessionRates, now time.Time) SessionBudget {
	return SessionBudget{
		messages: NewBudget(r.Messages, cmp.Or(r.MessageBurst, 10*r.Messages), now),
		bytes:    NewBudget(r.Bytes, cmp.Or(r.ByteBurst, 10*r.Bytes), now),
		answers:  NewBudget(r.Answers, cmp.Or(r.AnswerBurst, 10*r.Answers), now),
	}
}

// Fast reports whether the session has lately asked for more than its rates, by what it had
// saved up: that is no fault, but much work at once.
func (s *SessionBudget) Fast() bool {
	return s.messages.isFast() || s.bytes.isFast() || s.answers.isFast()
}

// Received counts a frame, by its bytes and what it was work for in bytes, and returns
// how long to pause before reading the next.
func (s *SessionBudget) Received(cost int, now time.Time) time.Duration {
	return max(s.messages.Spend(1, now), s.bytes.Spend(float64(cost), now))
}

// fragmentCost is what a further fragment of a message costs, in messages: it is a
// header, and nothing is done about it.
const fragmentCost = 1. / 16

// Framed counts a frame that is no message by itself, and returns how long to pause
// before reading the next. A ping costs as much as a message, since it is answered.
func (s *SessionBudget) Framed(control bool, now time.Time) time.Duration {
	if control {
		return s.messages.Spend(1, now)
	}
	return s.messages.Spend(fragmentCost, now)
}

// answerFloor is what the smallest answer costs: looking for differences is work
// even where there are none.
const answerFloor = 4 << 10

// Answered counts a SyncStep2 of that size and returns how long to pause before
// reading on, so that a small question cannot buy a large answer again and
// again.
func (s *SessionBudget) Answered(bytes int, now time.Time) time.Duration {
	return s.answers.Spend(float64(max(bytes, answerFloor)), now)
}
