package room

import (
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/wire"
)

// What a member is told of its questions costs a system call if it is written alone, as
// much as an edit that it is sent. So where edits come one after the other, answers wait
// for the next message to the member, and are written with it. Elsewhere they go at once.

// answerWait is how long an answer may wait for a message to go with. The clients' view is
// that of an acknowledgement of the history that took so much longer.
const answerWait = 50 * time.Millisecond

// answer is what a member is to be told: that everything that it sent before its question,
// or what it is owed acknowledgements of, is saved.
type answer struct {
	payload []byte // of the question
	owed    int32  // instead of a question: so many acknowledgements
	at      int64  // when the question came, or the oldest of those, by clock
}

// answers are those that a member has not been sent, in order.
type answers struct{ list []answer }

var answersPool = sync.Pool{New: func() any { return new(answers) }}

// give is an answer that is due. Callers call sendSoon behind the last; a member that is
// behind is sent its answers when it has caught up.
func (qs *questions) give(a ask) {
	s := a.seat
	if s.due == nil {
		s.due = answersPool.Get().(*answers)
		qs.answered = append(qs.answered, s)
	}
	if a.owed == 0 { // its payload takes memory, so it counts as open until it is sent
		s.due.list = append(s.due.list, answer{payload: a.payload, at: a.at})
		return
	}
	s.asks--
	if last := len(s.due.list) - 1; last >= 0 && s.due.list[last].owed > 0 {
		s.due.list[last].owed += a.owed
		return
	}
	s.due.list = append(s.due.list, answer{owed: a.owed, at: a.at})
}

// sendSoon has the members sent what is due: now, or where another message to them is
// likely to come, with that, within answerWait.
func (qs *questions) sendSoon() {
	if len(qs.answered) == 0 || qs.sendAt != 0 {
		return
	}
	r := qs.room
	if now := clock(); r.members.gathered.busy(now) {
		qs.sendAt = now + int64(answerWait)
		r.rooms.writeAt(r, qs.sendAt)
		return
	}
	qs.send()
}

// send sends the members their answers that no message took along.
func (qs *questions) send() {
	for _, s := range qs.answered {
		s.sendAnswers()
	}
	clear(qs.answered)
	qs.answered, qs.sendAt = qs.answered[:0], 0
}

// sendDue is send when answers have waited long enough for a message.
func (qs *questions) sendDue(now int64) {
	if qs.sendAt != 0 && qs.sendAt <= now {
		qs.send()
	}
}

// sendAnswers sends what the member is to be told, unless it is behind.
func (s *Seat) sendAnswers() {
	if s.due != nil && s.behind == nil && s.index >= 0 && !s.sendDue(nil) {
		s.freeze()
	}
}

// sendDue hands over what the member is to be told, and m behind it, if it is not nil.
func (s *Seat) sendDue(m *wire.Message) bool {
	r, due := s.room, s.due
	s.due = nil
	now, payloads := clock(), r.asks.payloads[:0]
	for _, a := range due.list {
		r.rooms.cfg.Answered(time.Duration(now - a.at))
		if a.owed == 0 {
			s.asks--
			payloads = append(payloads, a.payload)
		}
		for range a.owed {
			payloads = append(payloads, nil)
		}
	}
	due.free()
	ok := s.member.SendAnswers(payloads, m)
	clear(payloads)
	r.asks.payloads = payloads[:0]
	return ok
}

// forgetAnswers takes back what the member was to be told: its acknowledgements, or all.
func (s *Seat) forgetAnswers(all bool) {
	due := s.due
	if due == nil {
		return
	}
	kept := due.list[:0]
	for _, a := range due.list {
		if !all && a.owed == 0 {
			kept = append(kept, a)
		}
	}
	clear(due.list[len(kept):])
	if due.list = kept; len(kept) == 0 {
		s.due = nil
		due.free()
	}
}

func (d *answers) free() {
	clear(d.list)
	d.list = d.list[:0]
	answersPool.Put(d)
}
