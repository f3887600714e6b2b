package room

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/test/natstest"
)

// stopped is a room that has stopped, with an author and a reader.
type stopped struct {
	room   *Room
	author *member
	seat   *Seat
	reader *member
	writer writer
}

func newStopped(t *testing.T) *stopped {
	s := &stopped{room: newPod(t, natstest.Server(t).URL).open(t, "e1"), writer: writer{client: 7}}
	s.author, s.seat = join(t, s.room)
	s.reader, _ = join(t, s.room)
	apply(t, s.seat, s.writer.insert("before"))
	durable(t, s.room)
	s.room.Stop()
	return s
}

// typed is an edit that the room must not have seen yet.
func (s *stopped) typed(t *testing.T, text string) []byte {
	t.Helper()
	update := s.writer.insert(text)
	apply(t, s.seat, update)
	if s.reader.has(update) || bytes.Contains(s.room.Export(), []byte(text)) {
		t.Errorf("%q was applied although the room is stopped", text)
	}
	return update
}

func TestWhatIsTypedWhileARoomIsStoppedIsAppliedWhenItGoesOn(t *testing.T) {
	s := newStopped(t)
	one := s.typed(t, "one")
	s.seat.Ask([]byte("saved?"))
	s.seat.Acknowledge()
	two := s.typed(t, "two")
	durable(t, s.room) // of what it took there is nothing else
	if got := s.author.answers(); got != "" {
		t.Fatalf("what is held was acknowledged: %q", got)
	}
	s.room.Resume()
	if !s.reader.has(one) || !s.reader.has(two) {
		t.Error("the reader has not what was held")
	}
	eventually(t, "it is acknowledged", func() bool { return len(s.author.answers()) == len("saved? ") })
	after := s.writer.insert("after")
	apply(t, s.seat, after)
	if !s.reader.has(after) {
		t.Error("the room does not go on")
	}
}

func TestAnAnswerToASyncStep1WaitsAsEditsDo(t *testing.T) {
	s := newStopped(t)
	update := s.writer.insert("brought")
	if _, err := s.seat.Answer(update); err != nil || s.reader.has(update) {
		t.Fatalf("it was applied: %t: %v", s.reader.has(update), err)
	}
	s.room.Resume()
	if !s.reader.has(update) {
		t.Error("it is lost")
	}
}

// Nobody brings to the new place what somebody sent who has left.
func TestWhatAMemberSentWhoLeftIsNotLost(t *testing.T) {
	for name, end := range map[string]func(*Room){
		"it stays": (*Room).Resume,
		"it moves": func(r *Room) {
			if !r.MoveAway() {
				t.Error("it is not to be stored")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStopped(t)
			update := s.typed(t, "last words")
			s.seat.Leave()
			end(s.room)
			if !s.reader.has(update) {
				t.Error("it is lost")
			}
			durable(t, s.room)
		})
	}
}

// Who stays brings it by itself: here it would only be merged later.
func TestWhatMembersStillHaveIsNotAppliedWhereTheDocumentWas(t *testing.T) {
	s := newStopped(t)
	update := s.typed(t, "goes along")
	if s.room.MoveAway() {
		t.Error("something was left")
	}
	if later := s.typed(t, "later"); s.reader.has(update) || s.reader.has(later) {
		t.Error("it was applied")
	}
}

func TestAStoppedRoomHoldsNoMoreThanItsBound(t *testing.T) {
	s := newStopped(t)
	large := string(bytes.Repeat([]byte("x"), stoppedBytes))
	s.typed(t, large)
	_, err := s.seat.Apply(s.writer.insert("more"))
	var passes interface{ Passes() bool }
	if !errors.As(err, &passes) || !passes.Passes() {
		t.Errorf("%v, expected an error after which the client comes back", err)
	}
	s.room.Resume()
	if !bytes.Contains(s.room.Export(), []byte(large)) {
		t.Error("what was held before is lost")
	}
}

// One member after the other cannot make a stopped room hold any number of bytes.
func TestWhatAStoppedRoomHoldsIsBounded(t *testing.T) {
	s := newStopped(t)
	most := stoppedRoomBytes / stoppedBytes
	text := string(bytes.Repeat([]byte("x"), stoppedBytes))
	for i := range most + 1 {
		_, seat := join(t, s.room)
		_, err := seat.Apply((&writer{client: uint64(100 + i)}).insert(text))
		if full := i >= most-1; full != errors.Is(err, errStopped) {
			t.Fatalf("member %d of %d: %v", i+1, most+1, err)
		}
		seat.Leave()
	}
	s.room.Resume()
	if n := s.room.Brief().Store.Bytes; n < (most-1)*stoppedBytes {
		t.Errorf("the room has %d bytes of what it held", n)
	}
}
