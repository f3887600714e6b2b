package live

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// reluctant holds users back who open documents, once it is told to, and then turns them away.
type reluctant struct {
	Rooms
	holds         atomic.Bool
	opening, fail chan struct{}
}

func (r *reluctant) Open(ctx context.Context, doc docid.Document, epoch string, fresh bool, kept *room.Kept) (*room.Room, error) {
	if paying := kept.Begun == nil; paying || !r.holds.Load() {
		return r.Rooms.Open(ctx, doc, epoch, fresh, kept)
	}
	close(r.opening)
	<-r.fail
	return nil, errors.New("the history does not answer")
}

// A life that a node owes is taken up by users there and elsewhere, and does not open there: from
// then on the other node owes it, and the first does not count it for ever.
func TestWhatDoesNotOpenIsNotOwedForEver(t *testing.T) {
	r, s := storing(t)
	rooms := &reluctant{opening: make(chan struct{}), fail: make(chan struct{})}
	opening := r
	opening.opens = func(as Rooms) Rooms { rooms.Rooms = as; return rooms }
	a, b := opening.node("a"), r.node("b")
	v := a.visit(t)
	s.Set(storagetest.Down)
	v.types("one")
	l := life{todo, v.d.Room().Epoch()}
	v.leave()
	a.settle(t)
	rooms.holds.Store(true)
	refused := make(chan error, 1)
	go func() {
		_, err := a.tryVisit(t)
		refused <- err
	}()
	<-rooms.opening
	v = b.visit(t)
	defer v.leave()
	a.purges.mu.Lock()
	delete(a.purges.owed, l)
	a.purges.mu.Unlock()
	a.payments.unasked(license)
	a.purges.work(t.Context(), l) // it is due just now
	if a.Storing().Owed != 1 {
		t.Errorf("what its users may take up is forgotten: %+v", a.Storing())
	}
	close(rooms.fail)
	if err := <-refused; err == nil {
		t.Fatal("it opens")
	}
	eventually(t, "it is not owed here any more", func() bool { return a.Storing() == Storing{} })
}
