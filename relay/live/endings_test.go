package live

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// forgotten is a registry that says, while it is told to, that it knows of no pin.
type forgotten struct {
	Registry
	forgets atomic.Bool
}

func (f *forgotten) Lookup(ctx context.Context, d docid.Document) (kvpin.Pin, kvpin.State, error) {
	if f.forgets.Load() {
		return kvpin.Pin{}, kvpin.Free, nil
	}
	return f.Registry.Lookup(ctx, d)
}

// unplanned stores nothing by itself.
func (r region) unplanned() region {
	before := r.options
	r.options = func(o *Options) {
		if before != nil {
			before(o)
		}
		o.StoreFirst, o.StoreInterval = time.Hour, time.Hour
	}
	return r
}

// leaves has the history of a life get an edit.
func (n *node) leaves(t *testing.T, l life, text string) {
	t.Helper()
	found, err := n.lives.found(t.Context(), l)
	if err == nil {
		data := oplog.Kept.Append(nil, 7, oplog.Updates, 1, insert(text))
		_, err = n.stored.AppendAfter(t.Context(), n.lives.subject(l), data, found.Last, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holds returns what the history of a life holds.
func (n *node) holds(t *testing.T, l life) history.Subject {
	t.Helper()
	for subject, err := range n.stored.Subjects(t.Context(), n.lives.subject(l)) {
		if err != nil {
			t.Fatal(err)
		}
		return subject
	}
	return history.Subject{}
}

// A life that has users does not end, although it is stored: not while the registry knows
// its pin, nor when it has lost that and the region is all that knows.
func TestALifeThatSomebodyHasOpenDoesNotEnd(t *testing.T) {
	r, _ := storing(t)
	blind := new(forgotten)
	r.options = func(o *Options) {
		if o.Node == "b" {
			blind.Registry, o.Registry = o.Registry, blind
		}
	}
	a, b := r.node("a"), r.node("b")
	v := a.visit(t)
	defer v.leave()
	v.types("one")
	eventually(t, "it is stored", func() bool { return a.saves.kept(v.d.keeper).Clean })
	l := life{todo, v.d.Room().Epoch()}
	before := a.holds(t, l)
	for _, forgets := range []bool{false, true} {
		blind.forgets.Store(forgets)
		if next, err := b.payments.endLife(t.Context(), l); forgets && !errors.Is(err, errAgain) && !errors.Is(err, errNoWord) {
			t.Errorf("another node brings it to its end, and comes again in %s: %v", next, err)
		}
		if now := a.holds(t, l); now != before {
			t.Errorf("its history is %+v, before %+v", now, before)
		}
	}
	found, err := a.lives.found(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.payments.alone(t.Context(), l, found); !errors.Is(err, errTaken) {
		t.Errorf("its node opens a second room of it: %v", err)
	}
}

// Nor does one end of which somebody in the region does not say in time whether he has it.
func TestALifeThatSomebodyMayHaveOpenDoesNotEnd(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	l := life{todo, docid.NewStoredEpoch("former")}
	n.leaves(t, l, "left")
	end := r.silentNode()
	defer end()
	if _, err := n.payments.endLife(t.Context(), l); !errors.Is(err, errNoWord) {
		t.Errorf("while a room is silent: %v, expected %v", err, errNoWord)
	}
	if _, err := n.Accept(t.Context(), todo, false); err == nil {
		t.Error("while a room is silent an operator accepts what it may still have")
	}
	if left := n.holds(t, l); left.Messages != 1 {
		t.Errorf("of its history is left: %+v", left)
	}
}

// unheardStores is a registry by which holders are not told that their store has changed.
type unheardStores struct{ Registry }

var errUnheard = errors.New("not told")

func (unheardStores) StoreChanged(context.Context, docid.Document, kvpin.Pin, bool) ([]docid.NodeID, error) {
	return nil, errUnheard
}

// Rule 9: what another life has stored is owed to those who have the document open until
// they are told: its history is not purged before.
func TestALifeDoesNotEndBeforeOthersAreToldWhatItStored(t *testing.T) {
	r, _ := storing(t)
	r.options = func(o *Options) { o.Registry = unheardStores{o.Registry} }
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	n.savesNow(t, v)
	former := life{todo, docid.NewStoredEpoch("former")}
	base := v.d.Room().Base()
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, base))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(former), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := n.payments.endLife(t.Context(), former); !errors.Is(err, errUnheard) {
		t.Errorf("%v, expected %v", err, errUnheard)
	}
	if found, err := n.lives.found(t.Context(), former); err != nil || found.Ended {
		t.Errorf("its history is purged: %+v, %v", found, err)
	}
}

// A life is covered if the store has everything of it, whichever life of the document this
// node has open.
func TestWhatOfALifeIsStoredDecidesWhetherItEnds(t *testing.T) {
	r, _ := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	now, former := life{todo, v.d.Room().Epoch()}, life{todo, docid.NewStoredEpoch("former")}
	covered := func(what string, l life, want bool) {
		t.Helper()
		got, err := n.Covered(t.Context(), l.doc, kvpin.Epoch(l.epoch))
		if err != nil || got != want {
			t.Errorf("%s: it is covered: %t, %v", what, got, err)
		}
	}
	covered("unedited", now, true)
	covered("without a history", former, true)
	n.leaves(t, former, "left")
	covered("beside one that is open", former, false)
	v.types("one")
	covered("edited", now, false)
	n.savesNow(t, v)
	covered("stored", now, true)
	v.types("two")
	v.d.fate.become(ErrDeleted)
	covered("deleted", now, true)
}

// Whoever is told that the store has changed purges nothing of a document that was not
// deleted, however its life is kept.
func TestWhatWasNotDeletedIsNotPurgedByWhatIsTold(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("one")); err != nil {
		t.Fatal(err)
	}
	l := life{todo, docid.NewStoredEpoch("former")}
	n.leaves(t, l, "left")
	if err := n.follower.Told(t.Context(), todo, kvpin.Epoch(l.epoch)); err != nil {
		t.Fatal(err)
	}
	if left := n.holds(t, l); left.Messages != 1 {
		t.Errorf("of its history is left: %+v", left)
	}
	version := stored(t, s.Store).Version
	if _, err := s.Store.Delete(t.Context(), todo, version, storage.Meta{Generation: storage.NewGeneration()}); err != nil {
		t.Fatal(err)
	}
	if err := n.follower.Told(t.Context(), todo, ""); err != nil {
		t.Errorf("of a pin that could not be read: %v", err)
	}
}

// News that another node's pin has moved, or ended, end no sessions here.
func TestNewsOfAPinThatIsStillHeldEndNothing(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	pin, _ := n.state(t)
	n.follower.Moved(todo, pin)
	n.follower.Ended(todo, pin)
	if n.dismissed.Load() != 0 || v.d.StillHere() != nil {
		t.Errorf("its sessions are ended: %v", n.reason(todo))
	}
	v.types("goes on")
}

// A room that goes over to another life finds out what others have stored meanwhile, although
// nobody edits; and one of a document that was deleted takes nothing there.
func TestARoomThatGoesOverToAnotherLifeLooksAtTheStore(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	v.obeys()
	v.types("one")
	if err := v.d.Room().Restore(t.Context()); err != nil { // the history has the whole then
		t.Fatal(err)
	}
	n.savesNow(t, v)
	former, _ := n.state(t)
	next := kvpin.Pin{Epoch: kvpin.Epoch(docid.NewStoredEpoch("next"))}
	if err := n.follower.Rebased(t.Context(), todo, next); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.Save(t.Context(), todo, stored(t, s.Store).Version, storage.Meta{}, insert("theirs")); err != nil {
		t.Fatal(err)
	}
	if err := n.follower.Rebased(t.Context(), todo, former); err != nil { // which stands alone
		t.Fatal(err)
	}
	v.sees("theirs")
	meta := storage.Meta{Generation: storage.NewGeneration()}
	if _, err := s.Store.Delete(t.Context(), todo, stored(t, s.Store).Version, meta); err != nil {
		t.Fatal(err)
	}
	last := kvpin.Pin{Epoch: kvpin.Epoch(docid.NewStoredEpoch("last"))}
	if err := n.follower.Rebased(t.Context(), todo, last); err != nil {
		t.Errorf("of a document that was deleted it is told again: %v", err)
	}
	if left := n.holds(t, life{todo, string(last.Epoch)}); left.Messages != 0 {
		t.Errorf("what was deleted is in another life: %+v", left)
	}
	if !errors.Is(n.reason(todo), ErrDeleted) {
		t.Errorf("its sessions are ended for %v", n.reason(todo))
	}
}

// A history that is a reference to the store is of the document's former life if that has
// another generation by now.
func TestWhoOpensAReferenceToAFormerGenerationOpensThePresentOne(t *testing.T) {
	r, s := storing(t)
	first, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("old"))
	if err != nil {
		t.Fatal(err)
	}
	n := r.node("a")
	v := n.visit(t) // an unedited document
	former := v.d.Room().Epoch()
	v.leave()
	eventually(t, "it is closed", func() bool { return n.Len() == 0 })
	meta := storage.Meta{Generation: storage.NewGeneration()}
	tombstone, err := s.Store.Delete(t.Context(), todo, first, meta)
	if err == nil {
		_, err = s.Store.Save(t.Context(), todo, tombstone, meta, insert("anew"))
	}
	if err != nil {
		t.Fatal(err)
	}
	v = n.visit(t)
	defer v.leave()
	v.reads("anew")
	if v.d.Room().Epoch() == former || bytes.Contains(v.d.Room().Export(), []byte("old")) {
		t.Errorf("it goes on in its former life: %q", v.d.Room().Export())
	}
	if base := v.d.Room().Base(); base.Generation != uint64(meta.Generation) {
		t.Errorf("it stands on %+v", base)
	}
}

// What somebody sent to a stopped room and did not wait for is the document's, if that stays:
// a node that nobody else has it open on gives it up only then.
func TestWhatTheLastOneSentWhoLeftIsNotLostWhenTheDocumentStays(t *testing.T) {
	m := newMoves(t)
	a, b := m.eu.node("a"), m.eu.node("b")
	m.us.node("c")
	one, two := a.visit(t), b.visit(t)
	defer one.leave()
	one.types("one")
	m.once(storagetest.Down, func() {
		two.holds("left behind")
		two.leave()
	})
	if _, err := a.moves(t, east); err == nil {
		t.Fatal("it moved")
	}
	one.sees("left behind")
	b.eventuallyGone(t)
}

// A later mark does not have a document stop for longer: its move fails when the first one's
// time is over.
func TestADocumentStopsNoLongerThanForTheFirstMark(t *testing.T) {
	var s stops
	s.init(nil)
	d, now := new(Document), time.Now()
	s.add(d, now.Add(time.Second))
	s.add(d, now.Add(time.Hour))
	if due, _ := s.due(now.Add(2 * time.Second)); len(due) != 1 || due[0] != d {
		t.Errorf("%d documents come back when its time is over", len(due))
	}
	s.add(d, now.Add(time.Hour))
	s.goOnNow(d)
	if due, _ := s.due(time.Now()); len(due) != 1 {
		t.Errorf("%d documents come back when the move is over", len(due))
	}
	if s.take(d) {
		t.Error("it comes back twice")
	}
}

// What no store keeps, or another region has, does not move from here.
func TestOnlyWhatThisRegionKeepsInAStoreMoves(t *testing.T) {
	r, _ := storing(t)
	without := r
	without.store, without.storeID = nil, ""
	n, c := without.node("a"), without.apart(east).node("c")
	v := n.visit(t)
	if _, err := n.moves(t, east); !errors.Is(err, kvpin.ErrImmovable) {
		t.Errorf("a document that no store keeps: %v", err)
	}
	if v.d.room.Brief().Stopped {
		t.Error("its room is stopped")
	}
	if _, err := c.moves(t, east); !errors.Is(err, kvpin.ErrImmovable) {
		t.Errorf("a document of another region: %v", err)
	}
	v.leave()
}

// silentNode is asked about the document and does not answer until end is called.
func (r region) silentNode() (end func()) {
	r.t.Helper()
	nc, err := nats.Connect(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err = nc.Subscribe(todo.SignalsSubject(), func(*nats.Msg) {}); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return nc.Close
}
