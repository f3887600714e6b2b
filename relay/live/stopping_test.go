package live

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// toldToStop notes what a node answers who is told to stop.
type toldToStop struct {
	kvpin.Rooms
	answers chan error
}

func (s *toldToStop) Stop(ctx context.Context, doc docid.Document, epoch kvpin.Epoch, within time.Duration) error {
	err := s.Rooms.Stop(ctx, doc, epoch, within)
	select {
	case s.answers <- err:
	default:
	}
	return err
}

// Rule 16: a holder that is just opening the document has not stopped. It does once it is
// open, and nothing moves before: what its first user sends is not applied.
func TestADocumentMovesOnceWhoOpensItHasStopped(t *testing.T) {
	m := newMoves(t)
	h := &held{opened: make(chan struct{}), hold: make(chan struct{})}
	opening := m.eu
	opening.opens = func(rooms Rooms) Rooms { h.Rooms = rooms; return h }
	a, b, c := m.eu.node("a"), opening.node("b"), m.us.node("c")
	one := a.visit(t)
	one.obeys()
	one.types("one")
	letIn := sync.OnceFunc(func() { close(h.hold) })
	t.Cleanup(letIn)
	told := &toldToStop{b.Follower(), make(chan error, 1)}
	b.registry.Attach(told)
	came := make(chan *visit, 1)
	go func() {
		v, err := b.tryVisit(t)
		if err != nil {
			t.Errorf("who opens it is not let in: %v", err)
		}
		came <- v
	}()
	<-h.opened
	m.once(storagetest.None, func() {
		two := <-came
		if two == nil {
			return
		}
		two.obeys()
		two.holds("goes along")
		if !one.d.room.Brief().Stopped {
			t.Error("it is stored, to be moved, while somebody edits it")
		}
	})
	moved := make(chan error, 1)
	go func() {
		_, err := a.moves(t, east)
		moved <- err
	}()
	select {
	case err := <-told.answers:
		if !errors.Is(err, errOpening) {
			t.Errorf("who opens the document answers that it has stopped: %v", err)
		}
	case err := <-moved:
		t.Fatalf("it moved while somebody opens it: %v", err)
	}
	letIn()
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	v := c.visit(t)
	defer v.leave()
	v.reads("one")
	if bytes.Contains(v.d.Room().Export(), []byte("goes along")) {
		t.Error("what its author brings was applied where the document was")
	}
}

// Rule 16: a mover is answered whatever has become of a holder's room: where there is none
// nothing is to be stopped.
func TestWhoHasNoRoomOfADocumentHasStopped(t *testing.T) {
	m := newMoves(t)
	n := m.eu.node("a")
	stop := func(epoch string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return n.follower.Stop(ctx, todo, kvpin.Epoch(epoch), time.Hour)
	}
	if err := stop("never"); err != nil {
		t.Errorf("of a document that is not open: %v", err)
	}
	v := n.visit(t)
	v.types("one")
	if err := stop("s-former"); err != nil || v.d.room.Brief().Stopped {
		t.Errorf("for the move of another life it stopped: %t, %v", v.d.room.Brief().Stopped, err)
	}
	epoch, r := v.d.Room().Epoch(), v.d.room
	v.leave()
	n.settle(t)
	if err := stop(epoch); err != nil {
		t.Errorf("of a document that was closed: %v", err)
	}
	r.Stop() // who has found the room just before it closed
	if r.Brief().Stopped {
		t.Error("a room is stopped that is closed")
	}
	if err := r.Durable(t.Context()); err != nil {
		t.Errorf("a closed room has not made durable what it took: %v", err)
	}
	n.follower.stops.mu.Lock()
	defer n.follower.stops.mu.Unlock()
	if len(n.follower.stops.until) > 0 {
		t.Errorf("%d documents are to come back that are not there", len(n.follower.stops.until))
	}
}

// goneTo is a registry that says where all documents are.
type goneTo struct {
	Registry
	pin   kvpin.Pin
	state kvpin.State
	err   error
}

func (g goneTo) Lookup(context.Context, docid.Document) (kvpin.Pin, kvpin.State, error) {
	return g.pin, g.state, g.err
}

// A mover whose last write was not answered is told where the document has gone: it has
// moved it only if that is where it was to go, or if it has ended there since.
func TestAMoverFindsOutWhereADocumentHasGone(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		found goneTo
		want  error
	}{
		"where it was to go":       {goneTo{pin: kvpin.Pin{Region: east}, state: kvpin.Live}, nil},
		"nowhere any more":         {goneTo{state: kvpin.Free}, nil},
		"elsewhere":                {goneTo{pin: kvpin.Pin{Region: "ap-south-1"}, state: kvpin.Live}, kvpin.ErrImmovable},
		"the registry is not back": {goneTo{err: away}, away},
	} {
		ds := &Documents{ctx: t.Context(), o: Options{Registry: c.found}}
		if err := (&Moves{docs: ds}).whereTo(&Document{doc: todo}, east); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, expected %v", name, err, c.want)
		}
	}
}
