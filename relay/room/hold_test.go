package room

import (
	"slices"
	"testing"

	"github.com/wsnode/wsnode/test/natstest"
)

// holed is a room with an author, who has answered the room's SyncStep1, has written a
// heading, and then lost an update on the way to the room.
type holed struct {
	room   *Room
	author *member
	seat   *Seat
	reader *member
	lost   []byte
	behind []byte // deletes of the heading, and writes something in its place
}

func newHoled(t *testing.T) *holed {
	h := &holed{room: newPod(t, natstest.Server(t).URL).open(t, "e1")}
	h.author, h.seat = join(t, h.room)
	h.reader, _ = join(t, h.room)
	h.answer(t, []byte{0, 0})
	w := writer{client: 7}
	apply(t, h.seat, w.insert("heading"))
	h.lost = w.insert("lost")
	h.behind = slices.Concat(w.insert("new heading"))
	h.behind = append(h.behind[:len(h.behind)-1], w.remove(0)[1:]...)
	return h
}

func (h *holed) answer(t *testing.T, update []byte) {
	t.Helper()
	if _, err := h.seat.Answer(update); err != nil {
		t.Fatal(err)
	}
}

// sees reports whether the reader has the deletion and what was written with it: both
// or, as it should be, neither.
func (h *holed) sees(t *testing.T) bool {
	t.Helper()
	h.reader.mu.Lock()
	defer h.reader.mu.Unlock()
	s := h.reader.store.Stats()
	if sees := s.Deleted > 0; sees != (s.Structs > 1 || s.Pending > 0) {
		t.Fatalf("the reader has a part of an update: %+v", s)
	}
	return s.Deleted > 0
}

func TestAnAuthorWhoseStreamHasAHoleIsAskedAndNothingVanishesMeanwhile(t *testing.T) {
	h := newHoled(t)
	if _, err := h.seat.Apply(h.behind); err != nil {
		t.Fatal(err)
	}
	if h.sees(t) {
		t.Error("what lies behind the hole was passed on before the author was heard")
	}
	if h.author.step1 != 2 {
		t.Fatalf("the author was sent %d SyncStep1, want one when it joined and one for the hole", h.author.step1)
	}
	h.answer(t, h.lost)
	if !h.sees(t) || h.reader.pending() > 0 {
		t.Error("the answer fills the hole, and the reader has not all")
	}
}

func TestAGapThatItsAuthorDeclaresIsPassedOn(t *testing.T) {
	h := newHoled(t)
	if _, err := h.seat.Apply(h.behind); err != nil {
		t.Fatal(err)
	}
	h.answer(t, []byte{0, 0}) // it has not what is missing either
	if !h.sees(t) {
		t.Error("the reader has nothing after the author's answer")
	}
	typed := (&writer{client: 7, clock: 22}).insert("typed on")
	apply(t, h.seat, typed)
	if h.author.step1 != 2 {
		t.Errorf("the author was asked again about the same gap: %d SyncStep1", h.author.step1)
	}
	late, _ := join(t, h.room)
	for _, m := range []*member{h.reader, late} {
		if !m.has(h.behind) || !m.has(typed) {
			t.Error("a reader has not what lies behind the gap")
		}
	}
}

func TestWhatIsHeldOfAnAuthorWhoDoesNotAnswerIsPassedOn(t *testing.T) {
	h := newHoled(t)
	if _, err := h.seat.Apply(h.behind); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader has it", func() bool { return h.sees(t) })
	durable(t, h.room)
}

func TestWhatIsHeldOfAnAuthorWhoLeavesIsPassedOn(t *testing.T) {
	h := newHoled(t)
	if _, err := h.seat.Apply(h.behind); err != nil {
		t.Fatal(err)
	}
	h.seat.Leave()
	if !h.sees(t) {
		t.Error("it is lost")
	}
}

func TestAMalformedUpdateBehindAHeldOneIsRefused(t *testing.T) {
	h := newHoled(t)
	if _, err := h.seat.Apply(h.behind); err != nil {
		t.Fatal(err)
	}
	if _, err := h.seat.Apply([]byte{1, 2, 3}); err == nil {
		t.Error("it was taken")
	}
}
