package live

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// Of the nodes that have a document open one stores it, and the others step in when it does
// not: it may have lost the store, which they have.
func TestANodeStoresWhatTheOneWhoseTurnItIsCannot(t *testing.T) {
	r, s := storing(t)
	stores := map[docid.NodeID]*storagetest.Faulty{"a": {Store: s.Store}, "b": {Store: s.Store}}
	nodes := map[docid.NodeID]*node{}
	visits := map[docid.NodeID]*visit{}
	for id, s := range stores {
		r.store = s
		nodes[id] = r.node(id)
		visits[id] = nodes[id].visit(t)
		defer visits[id].leave()
	}
	eventually(t, "the nodes know each other", func() bool {
		return !visits["a"].d.room.Alone() && !visits["b"].d.room.Alone() && visits["a"].d.room.First() != visits["b"].d.room.First()
	})
	first, other := docid.NodeID("a"), docid.NodeID("b")
	if visits["b"].d.room.First() {
		first, other = other, first
	}
	stores[first].Set(storagetest.Down)
	visits[first].types("typed")
	eventually(t, "it is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("typed")) })
	eventually(t, "the other node knows that it has stored it", func() bool {
		return !nodes[other].saves.kept(visits[other].d.keeper).At.IsZero()
	})
	stores[first].Set(storagetest.None)
}

// Rule 12: the next life does not begin beside one that cannot be stored, although the store
// can be read.
func TestNoLifeBeginsBesideOneThatCannotBeStored(t *testing.T) {
	r, s := storing(t)
	var up atomic.Bool
	s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if operation == "save" && !up.Load() {
			return storagetest.Refusal
		}
		return storagetest.None
	}
	n := r.node("a")
	former := life{todo, docid.NewStoredEpoch("former")}
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, oplog.Base{Store: r.storeID}))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(former), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.leaves(t, former, "owed")
	if v, err := n.tryVisit(t); err == nil {
		t.Errorf("it opens with %q", v.d.Room().Export())
		v.leave()
	}
	up.Store(true)
	v := n.visit(t)
	defer v.leave()
	v.reads("owed")
	if body := stored(t, s.Store).Body; !bytes.Contains(body, []byte("owed")) {
		t.Errorf("the store holds %q", body)
	}
}

// What is due of a document when it is compared with its store is stored all the same.
func TestALookDoesNotTakeTheTurnOfAStore(t *testing.T) {
	r, _ := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	n.saves.look(v.d.keeper)
	eventually(t, "it is planned to be stored, behind the look", func() bool {
		n.saves.mu.Lock()
		defer n.saves.mu.Unlock()
		_, due := n.saves.due[v.d.keeper]
		return due && !v.d.keeper.looks
	})
}

// Of a document that was given up nothing is planned, whoever is late: nobody would store it.
func TestNothingIsPlannedOfADocumentThatWasGivenUp(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	k := v.d.keeper
	s.Set(storagetest.Down)
	v.leave()
	n.settle(t)
	for what, late := range map[string]func(){
		"an edit":    func() { n.saves.changed(k) },
		"a failure":  func() { n.saves.failed(k, storagetest.ErrFault) },
		"a question": func() { n.saves.awaits(k, true) },
		"a mark":     func() { n.saves.marked(k) },
		"a look":     func() { n.saves.look(k) },
	} {
		late()
		n.saves.mu.Lock()
		if len(n.saves.due) > 0 || n.saves.failing > 0 {
			t.Errorf("after %s %d stores are planned, and %d fail", what, len(n.saves.due), n.saves.failing)
		}
		n.saves.mu.Unlock()
	}
	s.Set(storagetest.None)
}

// A save whose answer was lost is found by its own body: nobody is taken for another.
func TestASaveWhoseAnswerWasLostMeetsItself(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	s.Set(storagetest.LostReply)
	if err := n.Save(t.Context(), v.d); err == nil {
		t.Fatal("it is stored: nothing is tested")
	}
	s.Set(storagetest.None)
	was := stored(t, s.Store).Version
	n.savesNow(t, v)
	if now := stored(t, s.Store).Version; now != was || n.saves.conflicts.Load() != 0 {
		t.Errorf("it is stored as %s, before %s, with %d conflicts", now, was, n.saves.conflicts.Load())
	}
}

// Rule 7: what somebody appends to a life while it ends is not purged.
func TestAnEndDoesNotPurgeWhatCameSinceItWasRead(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	l := life{todo, docid.NewStoredEpoch("former")}
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, oplog.Base{Store: r.storeID}))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	found, err := n.lives.found(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	n.leaves(t, l, "late")
	if err := n.lives.leaveMarker(t.Context(), l, found); err == nil {
		t.Error("it ends")
	}
	if left := n.holds(t, l); left.Messages != 2 {
		t.Errorf("of its history is left: %+v", left)
	}
}

// Somebody who asks for a document to be stored and goes away is no sign that the store fails,
// and the document is stored in its time.
func TestWhoGivesUpASaveIsNoFailureOfTheStore(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	s.Set(storagetest.Slow)
	ctx, giveUp := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() { asked <- n.Save(ctx, v.d) }()
	eventually(t, "the store is asked", func() bool { return s.Happened(storagetest.Slow) > 0 })
	giveUp()
	if err := <-asked; err == nil {
		t.Error("it is stored: nothing is tested")
	}
	s.Set(storagetest.None)
	n.saves.mu.Lock()
	defer n.saves.mu.Unlock()
	if _, due := n.saves.due[v.d.keeper]; !due || n.saves.failing > 0 || n.log.says("cannot be stored") {
		t.Errorf("planned: %v, failing: %d", due, n.saves.failing)
	}
}
