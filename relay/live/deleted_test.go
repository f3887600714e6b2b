package live

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/ystore"
)

// deletion deletes the six letters that an insert wrote.
func deletion(inserted []byte) []byte {
	client, _ := binary.Uvarint(inserted[2:])
	return append(binary.AppendUvarint([]byte{0, 1}, client), 1, 0, 6)
}

// Rule 13: the app's setting is asked when a life begins. What is kept then stays so when
// the setting is gone, and that is said; a setting that comes is taken with the next life.
func TestWhatIsKeptStaysSoWithoutTheSetting(t *testing.T) {
	r, s := storing(t)
	keeps := true
	r.options = func(o *Options) { o.KeepsDeleted = func(docid.Document) bool { return keeps } }
	typed := insert("secret")
	deletes := deletion(typed)

	a := r.node("a")
	v := a.visit(t)
	for _, u := range [][]byte{typed, deletes} {
		if _, err := v.seat.Apply(u); err != nil {
			t.Fatal(err)
		}
	}
	v.leave()
	a.settle(t)
	a.free(t)
	kept := func(when string, want bool) {
		t.Helper()
		got := stored(t, s.Store)
		if got.KeepDeleted != want || bytes.Contains(got.Body, []byte("secret")) != want {
			t.Errorf("%s: %q, kept %v", when, got.Body, got.KeepDeleted)
		}
	}
	kept("with the setting", true)

	keeps = false
	visits := func(text string) {
		t.Helper()
		v := a.visit(t)
		v.types(text)
		v.leave()
		a.settle(t)
		a.free(t)
	}
	visits("more")
	kept("without it", true)
	if !a.log.says("until wsctl store drop-deleted") {
		t.Error("nobody says that it is still kept")
	}

	if _, err := a.operator().Drop(t.Context(), todo); err != nil {
		t.Fatal(err)
	}
	kept("dropped", false)
	visits("again")
	kept("in the life after", false)
	keeps = true
	visits("once more")
	if got := stored(t, s.Store); !got.KeepDeleted {
		t.Error("a setting that came later is not taken")
	}
}

// A region that does not keep what is deleted loses nothing of what another one has
// stored meanwhile.
func TestWhatAnotherRegionKeepsIsMergedWithItsContent(t *testing.T) {
	r, s := storing(t)
	a := r.node("a")
	v := a.visit(t)
	typed := insert("secret")
	deletes := deletion(typed)
	whole := append(bytes.Clone(typed[:len(typed)-1]), deletes[1:]...)
	for _, u := range [][]byte{typed, deletes} {
		if _, err := v.seat.Apply(u); err != nil {
			t.Fatal(err)
		}
	}
	a.savesNow(t, v)
	before := stored(t, s.Store)
	if before.KeepDeleted || bytes.Contains(before.Body, []byte("secret")) {
		t.Fatal("it is kept: nothing is tested")
	}
	if _, err := s.Store.Save(t.Context(), todo, before.Version, storage.Meta{KeepDeleted: true}, whole); err != nil {
		t.Fatal(err)
	}
	v.types("more")
	v.leave()
	a.settle(t)
	a.free(t)
	if got := stored(t, s.Store); !got.KeepDeleted || !bytes.Contains(got.Body, []byte("secret")) || !bytes.Contains(got.Body, []byte("more")) {
		t.Errorf("stored: %q, kept %v", got.Body, got.KeepDeleted)
	}
}

// Rule 13: nor does a region that opens the document with what the other one has stored,
// although its own history says nothing of keeping. All its rooms and nodes keep it from then on.
func TestWhoOpensWhatAnotherRegionKeepsKeepsIt(t *testing.T) {
	r, s := storing(t)
	theirs, typed := insert("one"), insert("secret")
	deletes := deletion(typed)
	whole := append(bytes.Clone(typed[:len(typed)-1]), deletes[1:]...)
	first, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	a, b := r.node("a"), r.node("b")
	one := a.visit(t) // an unedited document: its history is a reference to the store
	defer one.leave()
	if one.d.Room().Base().KeepDeleted {
		t.Fatal("it is kept: nothing is tested")
	}
	if _, err := s.Store.Save(t.Context(), todo, first, storage.Meta{KeepDeleted: true}, merged(t, theirs, whole)); err != nil {
		t.Fatal(err)
	}
	two := b.visit(t)
	defer two.leave()
	if two.reads("secret"); !two.d.Room().Base().KeepDeleted {
		t.Error("who opens it does not keep it")
	}
	two.types("more")
	eventually(t, "the other room of the life keeps it too", func() bool {
		return one.d.Room().Base().KeepDeleted && bytes.Contains(one.d.Room().Export(), []byte("secret"))
	})
	eventually(t, "the store has it all", func() bool {
		got := stored(t, s.Store)
		return got.KeepDeleted && bytes.Contains(got.Body, []byte("secret")) && bytes.Contains(got.Body, []byte("more"))
	})
}

// Rule 13: what is kept stays so where a store has lost what says so, and an operator accepts
// that.
func TestWhatIsKeptStaysSoWhereTheStoreHasLostIt(t *testing.T) {
	for name, body := range map[string][]byte{"nothing is left": nil, "a former state is": insert("former")} {
		t.Run(name, func(t *testing.T) {
			r, s := storing(t)
			if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{KeepDeleted: true}, insert("lost")); err != nil {
				t.Fatal(err)
			}
			n := r.node("a")
			v := n.visit(t) // an unedited document: its history is a reference to the store
			v.leave()
			eventually(t, "it is closed", func() bool { return n.Len() == 0 })
			setBack(s, nil)
			if body != nil {
				if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, body); err != nil {
					t.Fatal(err)
				}
			}
			if lost, err := n.Accept(t.Context(), todo, false); err != nil || lost == nil {
				t.Fatalf("lost %v, %v", lost, err)
			}
			v = n.visit(t)
			if !v.d.Room().Base().KeepDeleted {
				t.Error("it keeps nothing any more")
			}
			v.types("on")
			v.leave()
			n.settle(t)
			n.free(t)
			if !stored(t, s.Store).KeepDeleted {
				t.Error("the store does not say that it is kept")
			}
		})
	}
}

// merged is one update of several.
func merged(t *testing.T, updates ...[]byte) []byte {
	t.Helper()
	all := ystore.New(ystore.Limits{})
	all.Keep()
	for _, u := range updates {
		if _, _, err := all.ApplyShared(u, ystore.Terms{}); err != nil {
			t.Fatal(err)
		}
	}
	return all.Encode()
}

func (n *node) savesNow(t *testing.T, v *visit) {
	t.Helper()
	if err := n.Save(t.Context(), v.d); err != nil {
		t.Fatal(err)
	}
}

// While a region is upgraded node by node, nothing begins that its other nodes refuse.
func TestWhatSomeNodesOfARegionCannotDoIsKnown(t *testing.T) {
	r, _ := storing(t)
	r.pins = func(c *kvpin.Config) {
		can := []string{kvpin.CanStore}
		if c.Node != "old" {
			can = append(can, kvpin.CanKeep)
		}
		c.About = func() kvpin.About { return kvpin.About{Can: can} }
	}
	a, old := r.node("a"), r.node("old")
	all := func() bool { return a.registry.AllCan(license, kvpin.CanKeep) }
	eventually(t, "it is known that one cannot", func() bool { return !all() })
	if !a.registry.AllCan(license, kvpin.CanStore) || a.registry.AllCan("elsewhere", kvpin.CanStore) {
		t.Error("what all can is not known, or what nobody can is")
	}
	old.end()
	eventually(t, "it is known that all can", all)
}
