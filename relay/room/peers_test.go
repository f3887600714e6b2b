package room

import (
	"testing"
	"time"
)

func TestWhoIsForgottenOwesNoAnswerAndIsOwedNone(t *testing.T) {
	var ps peers
	w := &watermark{}
	w.init()
	now := time.Now()
	p, isNew := ps.hear(7, now)
	if !isNew || ps.alone() {
		t.Fatal("a room that was heard is not a peer")
	}
	p.pod = "pod"
	p.open = w.hear()
	if !ps.ask(w, w.taken) || ps.ask(w, w.taken) {
		t.Error("it is not asked once about what it published")
	}
	ps.asked(p, 3, w.taken)
	ps.asked(p, 4, w.taken)
	if ps.askers != 1 {
		t.Errorf("%d rooms wait for an answer, of one that asked twice", ps.askers)
	}
	if open := ps.forget(7); open != p.open || ps.askers != 0 || !ps.alone() {
		t.Errorf("forgotten with %+v open, %d ask", open, ps.askers)
	}
	if ps.answered(7, w.taken) || ps.answers(w.taken) || len(ps.due(1, "here")) > 0 {
		t.Error("something is still open with it")
	}
}

func TestAnAnswerConfirmsWhatItsQuestionWasAbout(t *testing.T) {
	var ps peers
	w := &watermark{}
	w.init()
	p, _ := ps.hear(7, time.Now())
	p.pod = "pod"
	p.open = w.hear()
	asked := w.taken
	ps.ask(w, asked)
	p.open = p.open.with(w.hear()) // behind the question
	if ps.answered(7, asked+1) {
		t.Error("an answer to another question is taken")
	}
	if !ps.answered(7, asked) || p.open.low != w.taken || ps.lowest(w, w.taken+1) != w.taken {
		t.Errorf("%+v is open behind the answer", p.open)
	}
	ps.ask(w, w.taken)
	p.askedAt -= int64(peerAnswers) + 1
	if open := ps.giveUp(); open.low != w.taken || ps.lowest(w, w.taken+1) != w.taken+1 {
		t.Errorf("%+v is given up of what is not answered", open)
	}
}

func TestTheFirstOfTheRoomsIsTheOneOfTheLowestId(t *testing.T) {
	var ps peers
	if !ps.first(5) {
		t.Error("who is alone is not first")
	}
	ps.hear(7, time.Now())
	if !ps.first(5) || ps.first(9) {
		t.Error("a room is first although another has a lower id")
	}
}
