package live

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// losePin takes the document's pin away, as a registry does that is restored from a copy.
func (r region) losePin() {
	r.t.Helper()
	nc, err := nats.Connect(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	pins, err := js.KeyValue(r.t.Context(), "wsnode-"+string(license))
	if err == nil {
		err = pins.Purge(r.t.Context(), todo.PinKey())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// Rule 7: of a life that has ended a marker is left with what it stood on. A node that was
// frozen and goes on in it is merged with that, and not taken for leftovers.
func TestAPurgeLeavesAMarkerOnWhichALateNodeStands(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	l := life{todo, v.d.Room().Epoch()}
	v.leave()
	n.settle(t)
	n.free(t)
	found := func() oplog.Loaded {
		found, err := n.lives.found(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	eventually(t, "the history is purged up to a marker", func() bool { return found().Ended })
	marker := found()
	if base, ok := marker.Base(); !ok || base.Version != string(stored(t, s.Store).Version) || marker.Changed != 0 {
		t.Fatalf("the marker's base is %+v, of a history of %+v", base, marker)
	}
	late := oplog.Kept.Append(nil, 7, oplog.Updates, 1, insert("late"))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), late, marker.Last, 0); err != nil {
		t.Fatal(err)
	}
	n.purges.suspect(l, time.Now())
	eventually(t, "what came late is stored beside what was there", func() bool {
		body := stored(t, s.Store).Body
		return bytes.Contains(body, []byte("late")) && bytes.Contains(body, []byte("one"))
	})
}

// Rule 12: a life whose pin is lost still holds what its store lacks.
func TestWhatAFormerLifeOwesIsStoredBeforeTheNextBegins(t *testing.T) {
	r, s := storing(t)
	a := r.node("a")
	v := a.visit(t)
	s.Set(storagetest.Down)
	v.types("one")
	former := v.d.Room().Epoch()
	a.kill()
	r.losePin()
	b := r.node("b")
	if v, err := b.tryVisit(t); err == nil {
		t.Fatalf("while the store is away it opened with %q", v.d.Room().Export())
	}
	r.losePin() // of the life that did not begin
	s.Set(storagetest.None)
	v = b.visit(t)
	if v.d.Room().Epoch() == former {
		t.Fatal("it is the former life: nothing is tested")
	}
	v.reads("one")
	v.leave()
	b.settle(t)
	b.free(t)
	if body := stored(t, s.Store).Body; !bytes.Contains(body, []byte("one")) {
		t.Errorf("the store holds %q", body)
	}
}

// Rule 10: while a region is given its store node by node, nothing is stored that some of
// its nodes could not open, and nothing is opened empty that the store has.
func TestWhileANodeHasNoStoreNoStoredLifeBegins(t *testing.T) {
	r, s := storing(t)
	without := r
	without.store, without.storeID = nil, ""
	old := without.node("old")
	a := r.node("a")
	v := a.visit(t)
	if epoch := v.d.Room().Epoch(); docid.StoredEpoch(epoch) {
		t.Errorf("the life %s began, which a node of the region cannot open", epoch)
	}
	v.types("ends with its users")
	v.leave()
	a.settle(t)
	eventually(t, "its pin is gone", func() bool { _, state := a.state(t); return state == kvpin.Free })
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("stored")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.tryVisit(t); !errors.Is(err, errMixed) {
		t.Errorf("a document that the store has opens: %v", err)
	}
	old.end()
	eventually(t, "a stored life begins once all nodes have the store", func() bool {
		v, err := a.tryVisit(t)
		if err != nil {
			return false
		}
		defer v.leave()
		v.reads("stored")
		return docid.StoredEpoch(v.d.Room().Epoch())
	})
}

// Rules 10 and 11: a life that stands on another store than a node's, or on any if it has
// none, does not open there, although its history could do without.
func TestALifeOpensOnlyWhereItsStoreIs(t *testing.T) {
	r, s := storing(t)
	a := r.node("a")
	v := a.visit(t)
	defer v.leave()
	v.types("one")
	eventually(t, "it is stored", func() bool { return a.saves.kept(v.d.keeper).Clean })
	before := stored(t, s.Store)
	other, _ := storing(t)
	none := r
	none.store, none.storeID = nil, ""
	r.store, r.storeID = other.store, other.storeID
	for want, n := range map[error]*node{errOtherStore: r.node("b"), errNoStore: none.node("c")} {
		if _, err := n.tryVisit(t); !errors.Is(err, want) {
			t.Errorf("it opens: %v, expected %v", err, want)
		}
	}
	if now := stored(t, s.Store); now.Version != before.Version {
		t.Errorf("it was stored: %+v", now.Info)
	}
}

// A room loads what the store holds again if others append before its seed: what it loaded
// before holds no memory that former lives need to be stored.
func TestWhoLoadsAgainHoldsNoMemoryMeanwhile(t *testing.T) {
	r, s := storing(t)
	r.options = func(o *Options) { o.StoreBytes = 1 } // one body at a time
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("one")); err != nil {
		t.Fatal(err)
	}
	n := r.node("a")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	k, err := n.keep(ctx, todo, docid.NewStoredEpoch("present"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.opened(nil)
	if _, err := k.base(ctx, oplog.Loaded{}); err != nil || k.reserved == nil {
		t.Fatalf("it was not loaded: %v", err)
	}
	former := n.lives.subject(life{todo, docid.NewStoredEpoch("former")})
	if _, err := n.stored.AppendAfter(ctx, former, oplog.Kept.Append(nil, 7, oplog.Updates, 1, insert("owed")), 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.base(ctx, oplog.Loaded{}); err != nil {
		t.Errorf("it is not loaded again: %v", err)
	}
}
