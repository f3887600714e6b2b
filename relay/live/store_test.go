package live

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

func TestADocumentComesBackAfterEverybodyLeft(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	v.leave()
	n.settle(t)
	n.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) || got.Generation != 0 || got.Region != "eu-central-1" {
		t.Fatalf("the store holds %q, %+v", got.Body, got.Info)
	}
	other := r
	other.name = "us-east-1"
	v = other.node("b").visit(t)
	v.reads("one")
	v.types("two")
	v.leave()
	v.n.settle(t)
	v.n.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) || !bytes.Contains(got.Body, []byte("two")) {
		t.Errorf("the store holds %q", got.Body)
	}
}

func TestADocumentIsStoredWhileItIsEdited(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	for i := range 3 {
		text := fmt.Sprint("edit ", i)
		v.types(text)
		eventually(t, text+" is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte(text)) })
	}
	eventually(t, "it is known to be stored", func() bool { k := n.saves.kept(v.d.keeper); return k.Clean && !k.At.IsZero() })
}

// What nobody edits is neither stored nor written about.
func TestADocumentThatIsOnlyReadIsNotStored(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.leave()
	n.settle(t)
	n.free(t)
	if _, err := s.Store.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("it was stored: %v", err)
	}
}

// A failed load fails its joiners and leaves nothing, least of all an empty document.
func TestADocumentThatCannotBeLoadedDoesNotOpen(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Failing, storagetest.Refusal, storagetest.Truncated, storagetest.LostReply} {
		t.Run(string(fault), func(t *testing.T) {
			r, s := storing(t)
			if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("one")); err != nil {
				t.Fatal(err)
			}
			n := r.node("a")
			s.Set(fault)
			if v, err := n.tryVisit(t); err == nil {
				t.Fatalf("it opened with %q", v.d.Room().Export())
			}
			if n.Len() != 0 {
				t.Error("something is left")
			}
			s.Set(storagetest.None)
			v := n.visit(t)
			v.reads("one")
			v.leave()
		})
	}
}

// Another region has stored meanwhile: the union is stored, and seen.
func TestWhatAnotherRegionStoresIsMerged(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	eventually(t, "it is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("one")) })
	theirs := stored(t, s.Store)
	if _, err := s.Store.Save(t.Context(), todo, theirs.Version, storage.Meta{}, insert("theirs")); err != nil {
		t.Fatal(err)
	}
	v.types("two")
	eventually(t, "the union is stored", func() bool {
		body := stored(t, s.Store).Body
		return bytes.Contains(body, []byte("theirs")) && bytes.Contains(body, []byte("one")) && bytes.Contains(body, []byte("two"))
	})
	v.reads("theirs")
	v.leave()
	n.settle(t)
	n.free(t)
}
