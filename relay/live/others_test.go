package live

import (
	"bytes"
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
	if at := nodes[other].saves.kept(visits[other].d.keeper).At; at.IsZero() {
		t.Error("the other node has not stored it")
	}
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
