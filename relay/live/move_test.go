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
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/natstest"
)

const east = docid.Region("us-east-1")

// moves are two regions of which one can move documents to the other.
type moves struct {
	eu, us region
	store  *storagetest.Faulty

	mu   sync.Mutex
	save func(d docid.Document) storagetest.Fault // what becomes of the next saves; nil: they succeed
}

func newMoves(t *testing.T) *moves {
	m := new(moves)
	m.eu, m.store = storing(t)
	m.eu.pins = func(c *kvpin.Config) {
		c.About = func() kvpin.About { return kvpin.About{Can: []string{kvpin.CanStore, kvpin.CanMove}} }
	}
	m.eu.brief()
	m.us = m.eu.apart(east)
	m.eu.options = func(o *Options) { o.StoreFirst, o.StoreInterval = time.Hour, time.Hour } // moves alone store
	m.store.Delay = moveTime + time.Second
	m.store.Choose = func(operation string, d docid.Document) storagetest.Fault {
		m.mu.Lock()
		save := m.save
		m.mu.Unlock()
		if operation != "save" || save == nil {
			return storagetest.None
		}
		return save(d)
	}
	return m
}

// onSave has saves fail as it says.
func (m *moves) onSave(save func(docid.Document) storagetest.Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.save = save
}

// once does something at the next save, while everybody is stopped.
func (m *moves) once(fault storagetest.Fault, do func()) {
	var done sync.Once
	m.onSave(func(docid.Document) storagetest.Fault {
		result := storagetest.None
		done.Do(func() { do(); result = fault })
		return result
	})
}

func (n *node) moves(t *testing.T, to docid.Region) (Move, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return n.Moves.Move(ctx, todo, to)
}

// holds has the text come to the room without being applied, since it is stopped.
func (v *visit) holds(text string) {
	v.t.Helper()
	eventually(v.t, "the room is stopped", func() bool { // the others are told first
		return v.d.room.Brief().Stopped
	})
	if _, err := v.seat.Apply(insert(text)); err != nil {
		v.t.Error(err)
	}
	if bytes.Contains(v.d.Room().Export(), []byte(text)) {
		v.t.Errorf("%q was applied while the document moves", text)
	}
}

func TestADocumentMovesWithAllThatWasTyped(t *testing.T) {
	m := newMoves(t)
	a, b, c := m.eu.node("a"), m.eu.node("b"), m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	one.obeys()
	two.obeys()
	one.types("one")
	two.types("two")
	leaver := b.visit(t)
	former := one.d.Room().Epoch()
	m.once(storagetest.None, func() {
		leaver.holds("left behind")
		leaver.leave()
		two.holds("goes along")
	})
	moved, err := a.moves(t, east)
	if err != nil || moved.Region != east || moved.Stopped > moved.Took {
		t.Fatalf("%+v: %v", moved, err)
	}
	if pin, state := c.state(t); pin.Region != east || state != kvpin.Grace || string(pin.Epoch) == former {
		t.Errorf("it is %s: %+v", state, pin)
	}
	v := c.visit(t)
	defer v.leave()
	v.reads("one")
	v.reads("two")
	v.sees("left behind") // nobody brings it who has left
	if bytes.Contains(v.d.Room().Export(), []byte("goes along")) {
		t.Error("what its author brings was applied where the document was")
	}
	for _, n := range []*node{a, b} {
		n.eventuallyGone(t)
		if n.dismissed.Load() != 1 {
			t.Errorf("%d rooms were dismissed", n.dismissed.Load())
		}
	}
	eventually(t, "only a marker is left where it was", func() bool { return len(a.leftOf(t, todo)) == 0 })
	if a.Moves.Done.Load() != 1 || a.Moves.GivenUp.Load() != 0 {
		t.Errorf("%d moved, %d given up", a.Moves.Done.Load(), a.Moves.GivenUp.Load())
	}
	for doc, err := range a.Unstored(t.Context()) {
		t.Errorf("%s is not stored: %v", doc, err)
	}
}

// stays looks that a document goes on where it is, with what was held.
func (m *moves) stays(t *testing.T, n *node, held string, visits ...*visit) {
	t.Helper()
	eventually(t, "the mark is removed", func() bool {
		pin, state := n.state(t)
		return state == kvpin.Live && pin.Region == "eu-central-1" && pin.Moving == nil
	})
	for _, v := range visits {
		v.sees(held)
		eventually(t, "the room goes on", func() bool { return !v.d.room.Brief().Stopped })
		v.types("goes on")
	}
}

func TestADocumentStaysWhoseStoreFails(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Slow, storagetest.Refusal, storagetest.LostReply} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			m := newMoves(t)
			a, b := m.eu.node("a"), m.eu.node("b")
			m.us.node("c")
			one, two := a.visit(t), b.visit(t)
			defer one.leave()
			defer two.leave()
			one.types("one")
			var typing sync.Once
			m.onSave(func(docid.Document) storagetest.Fault {
				typing.Do(func() { two.holds("held") })
				return fault
			})
			if _, err := a.moves(t, east); err == nil {
				t.Fatal("it moved")
			}
			m.stays(t, a, "held", one, two)
			m.onSave(nil)
			eventually(t, "it moves once the store is back", func() bool { _, err := a.moves(t, east); return err == nil })
		})
	}
}

// While the store is known to fail nobody is stopped for it.
func TestNobodyStopsForAMoveThatTheStoreKeepsFrom(t *testing.T) {
	m := newMoves(t)
	a := m.eu.node("a")
	m.us.node("c")
	v := a.visit(t)
	defer v.leave()
	v.types("one")
	m.onSave(func(docid.Document) storagetest.Fault { return storagetest.Down })
	if err := a.Save(t.Context(), v.d); err == nil {
		t.Fatal("it is stored: nothing is tested")
	}
	m.onSave(func(docid.Document) storagetest.Fault {
		if v.d.room.Brief().Stopped {
			t.Error("the document was stopped")
		}
		return storagetest.Down
	})
	if _, err := a.moves(t, east); err == nil {
		t.Error("it moved")
	}
	m.onSave(nil)
}

// A holder that is frozen is waited for, until its lease is gone: then it is out, and finds
// the document elsewhere when it thaws.
func TestAFrozenHolderIsWaitedForUntilItsLeaseIsGone(t *testing.T) {
	m := newMoves(t)
	way := natstest.NewProxy(t, m.eu.url)
	frozen := m.eu
	frozen.url = way.URL
	frozen.registryAt(way.URL)
	a, b, c := m.eu.node("a"), frozen.node("b"), m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	one.obeys()
	two.obeys()
	one.types("one")
	two.types("two")
	way.Cut()
	began := time.Now()
	eventually(t, "it moves once the lease of the frozen holder is gone", func() bool {
		_, err := a.moves(t, east)
		return err == nil
	})
	if lease := 2 * time.Second; time.Since(began) < lease/2 {
		t.Errorf("it was waited for %s", time.Since(began))
	}
	if _, err := two.seat.Apply(insert("typed while frozen")); err != nil {
		t.Fatal(err)
	}
	v := c.visit(t)
	defer v.leave()
	v.reads("one")
	v.reads("two")
	way.Heal()
	v.sees("typed while frozen")
	b.eventuallyGone(t)
}

// A holder that dies does not keep the document from moving: what it had acknowledged is in
// the history, and what it held its clients bring.
func TestAHolderThatDiesIsNoneAnyMore(t *testing.T) {
	for name, before := range map[string]bool{"before it has stopped": true, "when it has stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMoves(t)
			a, b, c := m.eu.node("a"), m.eu.node("b"), m.us.node("c")
			one, two := a.visit(t), b.visit(t)
			one.obeys()
			one.types("one")
			two.types("two")
			if before {
				b.kill()
			} else {
				m.once(storagetest.None, b.kill)
			}
			if _, err := a.moves(t, east); err != nil {
				t.Fatal(err)
			}
			v := c.visit(t)
			defer v.leave()
			v.reads("one")
			v.reads("two")
		})
	}
}

// Who moves a document may die at it: before it has, the others go on; after it has, they
// find that out.
func TestAMoverThatDiesHarmsNothing(t *testing.T) {
	m := newMoves(t)
	a, b := m.eu.node("a"), m.eu.node("b")
	m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	defer two.leave()
	one.types("one")
	dying := make(chan struct{})
	m.once(storagetest.Slow, func() {
		two.holds("held")
		close(dying)
	})
	failed := make(chan error, 1)
	go func() {
		_, err := a.moves(t, east)
		failed <- err
	}()
	<-dying
	a.kill()
	if err := <-failed; err == nil {
		t.Error("a node that died moved it")
	}
	m.stays(t, b, "held", two)
	two.reads("one")
}

func TestOfTwoNodesThatMoveADocumentOneDoes(t *testing.T) {
	m := newMoves(t)
	a, b, c := m.eu.node("a"), m.eu.node("b"), m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	one.obeys()
	two.obeys()
	one.types("one")
	two.types("two")
	errs := make([]error, 4)
	var moving sync.WaitGroup
	for i := range errs {
		moving.Go(func() { _, errs[i] = []*node{a, b}[i%2].moves(t, east) })
	}
	moving.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	if done == 0 {
		_, err := a.moves(t, east)
		t.Fatalf("nobody did: %v; once more: %v", errors.Join(errs...), err)
	}
	v := c.visit(t)
	defer v.leave()
	v.reads("one")
	v.reads("two")
}

func TestWhatNobodyHasOpenNeedNotMove(t *testing.T) {
	m := newMoves(t)
	a := m.eu.node("a")
	m.us.node("c")
	if _, err := a.moves(t, east); !errors.Is(err, ErrNotLive) {
		t.Errorf("%v", err)
	}
	if _, state := a.state(t); state != kvpin.Free {
		t.Errorf("it is %s", state)
	}
}

// An owed life is taken up, stored, and moves then: nothing of it is left in its region.
func TestWhatARegionOwesMovesWithItsHistory(t *testing.T) {
	m := newMoves(t)
	a, c := m.eu.node("a"), m.us.node("c")
	m.onSave(func(docid.Document) storagetest.Fault { return storagetest.Down })
	v := a.visit(t)
	v.types("owed")
	v.leave()
	a.settle(t)
	if _, state := a.state(t); state != kvpin.Owed {
		t.Fatalf("it is %s", state)
	}
	unstored := 0
	for range a.Unstored(t.Context()) {
		unstored++
	}
	if unstored != 1 {
		t.Errorf("%d lives are not stored", unstored)
	}
	m.onSave(nil)
	if _, err := a.moves(t, east); err != nil && !errors.Is(err, ErrNotLive) {
		t.Fatal(err)
	}
	w := c.visit(t)
	defer w.leave()
	w.reads("owed")
}

// Rule 16: what comes into the history while the document is stored is stored as well,
// before it moves.
func TestADocumentMovesWithWhatCameWhileItWasStored(t *testing.T) {
	m := newMoves(t)
	a := m.eu.node("a")
	m.us.node("c")
	v := a.visit(t)
	v.obeys()
	v.types("one")
	l := life{todo, v.d.Room().Epoch()}
	m.once(storagetest.None, func() {
		last, err := a.stored.Last(t.Context(), a.lives.subject(l))
		if err == nil {
			late := oplog.Kept.Append(nil, 7, oplog.Updates, 1, insert("late"))
			_, err = a.stored.AppendAfter(t.Context(), a.lives.subject(l), late, last, 0)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := a.moves(t, east); err != nil {
		t.Fatal(err)
	}
	if body := stored(t, m.store.Store).Body; !bytes.Contains(body, []byte("late")) {
		t.Errorf("it moved with %q", body)
	}
}

// Rule 16: a holder has stopped when the history has what it took before.
func TestADocumentMovesOnceTheHistoryHasWhatOthersTook(t *testing.T) {
	m := newMoves(t)
	way := natstest.NewProxy(t, m.eu.url)
	cut := m.eu
	cut.url = way.URL
	cut.registryAt(m.eu.url) // of which it is not cut off
	a, b, c := m.eu.node("a"), cut.node("b"), m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	one.obeys()
	two.obeys()
	one.types("one")
	two.types("two")
	way.Cut()
	if _, err := two.seat.Apply(insert("taken")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.moves(t, east); err == nil {
		t.Error("it moved without what another node had taken")
	}
	way.Heal()
	eventually(t, "it moves once the history has that", func() bool { _, err := a.moves(t, east); return err == nil })
	v := c.visit(t)
	defer v.leave()
	v.reads("taken")
}

// Rule 6: what somebody sent who has left is in the store before the others are sent to
// where the document is loaded from it.
func TestWhatIsLeftOfADocumentThatMovesIsStoredBeforeItsUsersAreSentOn(t *testing.T) {
	m := newMoves(t)
	saves := m.eu.options
	sent := make(chan []byte, 1)
	m.eu.options = func(o *Options) {
		saves(o)
		dismiss := o.Dismiss
		o.Dismiss = func(r *room.Room, why error) {
			sent <- stored(t, m.store.Store).Body
			dismiss(r, why)
		}
	}
	a := m.eu.node("a")
	m.us.node("c")
	v, leaver := a.visit(t), a.visit(t)
	v.obeys()
	v.types("one")
	m.once(storagetest.None, func() {
		leaver.holds("left behind")
		leaver.leave()
	})
	if _, err := a.moves(t, east); err != nil {
		t.Fatal(err)
	}
	if body := <-sent; !bytes.Contains(body, []byte("left behind")) {
		t.Errorf("the store holds %q", body)
	}
}
