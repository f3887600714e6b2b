package live

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
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
