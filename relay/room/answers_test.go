package room

import (
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

// busy has a room take it that edits come one after the other.
func busy(r *Room) { r.members.gathered.at, r.members.gathered.gap = clock(), 1 }

func TestAnswersGoWithTheNextMessageWhereEditsComeOneAfterTheOther(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	_, author := join(t, r)
	sent := func() (writes, acknowledged int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.writes, len(m.saved)
	}

	r.mu.Lock() // so that no time passes for the room
	before, _ := sent()
	busy(r)
	for range 3 {
		seat.acknowledge(1)
	}
	if writes, n := sent(); writes != before || n != 0 {
		t.Errorf("%d writes, %d acknowledgements before the next edit", writes-before, n)
	}
	if _, err := r.apply((&writer{client: 7}).insert("x"), author, ystore.Terms{Limited: true}); err != nil {
		t.Error(err)
	}
	if writes, n := sent(); writes != before+1 || n != 3 {
		t.Errorf("%d writes with %d acknowledgements, expected one with 3", writes-before, n)
	}
	r.mu.Unlock()
}

func TestAnswersGoWithoutAMessageWhenNoneComes(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	r.mu.Lock()
	busy(r)
	seat.acknowledge(1)
	soon := r.asks.sendAt != 0
	r.mu.Unlock()
	if !soon {
		t.Error("the acknowledgement waits for no message")
	}
	eventually(t, "it is acknowledged", func() bool { return m.acknowledged() == 1 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if seat.due != nil || len(r.asks.answered) != 0 || r.asks.sendAt != 0 {
		t.Error("it is still due")
	}
}

func TestWhoAsksMoreThanFitsIsAnsweredMeanwhile(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	for range 3 * maxAsks {
		r.mu.Lock()
		busy(r)
		r.mu.Unlock()
		seat.Ask([]byte("x"))
	}
	eventually(t, "each question is answered", func() bool { return len(m.answers()) == 2*3*maxAsks-1 })
}

func TestAMemberThatBeginsAnewIsNotAcknowledgedWhatWasDue(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	r.mu.Lock()
	busy(r)
	seat.acknowledge(2)
	r.asks.give(ask{seat: seat, payload: []byte("question")})
	seat.forgetAnswers(false) // as Greet does
	seat.sendAnswers()
	r.mu.Unlock()
	if got := m.answers(); got != "question" {
		t.Errorf("answers %q, expected the question's alone", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seat.acknowledge(1)
	if seat.forgetAnswers(true); seat.due != nil {
		t.Error("an acknowledgement is due to who has left")
	}
}

func TestAnswersThatFillAMembersQueueFreezeIt(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	m.mu.Lock()
	m.full = true
	m.mu.Unlock()
	seat.Acknowledge()
	w := &writer{client: 7}
	_, author := join(t, r)
	u := w.insert("later")
	apply(t, author, u)
	if m.has(u) {
		t.Error("a frozen member was sent an edit")
	}
	m.mu.Lock()
	m.full = false
	m.mu.Unlock()
	seat.Thaw()
	if !m.has(u) {
		t.Error("it lacks the edit after it has caught up")
	}
}
