package live

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

func setBack(s *storagetest.Faulty, body []byte) { s.Store.(*storagetest.Memory).SetBack(todo, body) }

// leftBehind is a region whose history stands on more than its store has: everybody left,
// and then the store lost it.
func leftBehind(t *testing.T, body []byte) (*node, *storagetest.Faulty) {
	t.Helper()
	r, s := storing(t)
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("lost")); err != nil {
		t.Fatal(err)
	}
	n := r.node("a")
	v := n.visit(t) // an unedited document: its history is a reference to the store
	v.leave()
	eventually(t, "it is closed", func() bool { return n.Len() == 0 })
	setBack(s, body)
	return n, s
}

// A store that has lost what a history stands on keeps the document closed until an
// operator accepts that.
func TestWhatAStoreHasLostIsAcceptedByAnOperator(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		err  error
	}{
		"nothing is left":   {err: errVanished},
		"a former state is": {body: insert("former"), err: room.ErrBehind},
	} {
		t.Run(name, func(t *testing.T) {
			n, s := leftBehind(t, c.body)
			if v, err := n.tryVisit(t); !errors.Is(err, c.err) {
				t.Fatalf("it opened: %v, %v", v, err)
			}
			for _, look := range []bool{true, false} {
				lost, err := n.Accept(t.Context(), todo, look)
				if err != nil || !errors.Is(lost, c.err) {
					t.Fatalf("look %v: lost %v, %v", look, lost, err)
				}
				if look {
					if v, err := n.tryVisit(t); !errors.Is(err, c.err) {
						t.Fatalf("who looked has accepted: %v, %v", v, err)
					}
				}
			}
			v := n.visit(t)
			if c.body != nil {
				v.reads("former")
			}
			v.types("on")
			v.leave()
			n.settle(t)
			n.free(t)
			if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("on")) || c.body != nil && !bytes.Contains(got.Body, []byte("former")) {
				t.Errorf("the store holds %q", got.Body)
			}
			if lost, err := n.Accept(t.Context(), todo, false); lost != nil || err != nil {
				t.Errorf("now it has lost %v, %v", lost, err)
			}
		})
	}
}

// Where the document is open, the store is written again: nothing is lost.
func TestAnOpenDocumentIsWrittenAgainWhereTheStoreHasLostIt(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("all")
	eventually(t, "it is stored", func() bool { return n.saves.kept(v.d.keeper).Clean })
	setBack(s, nil)
	if lost, err := r.node("b").Accept(t.Context(), todo, false); !errors.Is(err, ErrElsewhere) || lost != nil {
		t.Errorf("a node that does not have it open says that %v is lost, %v", lost, err)
	}
	if lost, err := n.Accept(t.Context(), todo, true); err != nil || !errors.Is(lost, errVanished) {
		t.Errorf("lost is %v, %v", lost, err)
	}
	if _, err := s.Store.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("who looked had it written: %v", err)
	}
	if lost, err := n.Accept(t.Context(), todo, false); err != nil || !errors.Is(lost, errVanished) {
		t.Errorf("lost is %v, %v", lost, err)
	}
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("all")) {
		t.Errorf("the store holds %q", got.Body)
	}
}

// A store that is set back to a former state while nobody edits is written again by who
// has the document open, without being asked.
func TestAStoreThatIsSetBackIsWrittenAgain(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	eventually(t, "one is stored", func() bool { return n.saves.kept(v.d.keeper).Clean })
	former := stored(t, s.Store).Body
	v.types("two")
	eventually(t, "two is stored", func() bool {
		return n.saves.kept(v.d.keeper).Clean && bytes.Contains(stored(t, s.Store).Body, []byte("two"))
	})
	setBack(s, former)
	n.saves.look(v.d.keeper)
	eventually(t, "the store has everything again", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("two")) })
	was := stored(t, s.Store).Version
	n.saves.look(v.d.keeper)
	eventually(t, "it was looked at again", func() bool { n.saves.mu.Lock(); defer n.saves.mu.Unlock(); return !v.d.keeper.looks })
	if now := stored(t, s.Store).Version; now != was || !n.saves.kept(v.d.keeper).Clean {
		t.Errorf("it is written again and again: %s, then %s", was, now)
	}
}

// A store that cannot be asked has lost nothing: nobody accepts an outage.
func TestAnOutageIsNoLoss(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("all")
	n.savesNow(t, v)
	version := v.d.Room().Base().Version
	s.Set(storagetest.Down)
	if lost, err := n.Accept(t.Context(), todo, false); err == nil || lost != nil {
		t.Errorf("lost is %v, %v", lost, err)
	}
	if now := v.d.Room().Base().Version; now != version {
		t.Errorf("it stands on %q, before on %q", now, version)
	}
	s.Set(storagetest.None)
}

// What an operator accepts holds for one document, as long as it is worked on.
func TestALossIsAcceptedOfOneDocument(t *testing.T) {
	ds := New(t.Context(), t.Context(), Options{})
	other := todo
	other.Name = "another"
	err := ds.losses.accepting(todo, func() error {
		if !ds.losses.accepts(todo) || ds.losses.accepts(other) {
			t.Error("it is accepted of another document, or not of this one")
		}
		return ds.losses.accepting(todo, func() error { return nil })
	})
	if err != nil || ds.losses.accepts(todo) || len(ds.losses.accepted) > 0 {
		t.Errorf("it is accepted for ever: %v, %v", ds.losses.accepted, err)
	}
}
