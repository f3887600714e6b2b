package docs_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/docs"
	"github.com/wsnode/wsnode/relay/storage"
)

// The same client typed "secret" and deleted it; another version of it has collected that.
var (
	deletedA   = []byte{1, 1, 1, 0, 4, 1, 1, 't', 6, 's', 'e', 'c', 'r', 'e', 't', 1, 1, 1, 0, 6}
	collectedA = []byte{1, 1, 1, 0, 1, 1, 1, 't', 6, 1, 1, 1, 0, 6}
)

func TestWhatKeepsDeletedContentIsMergedWithIt(t *testing.T) {
	for name, c := range map[string]struct {
		stored, put []byte
		keeps       bool // the body; else the app's setting
	}{
		"a document that keeps":          {deletedA, typedB, true},
		"content over what was dropped":  {collectedA, deletedA, true},
		"what was dropped over content":  {deletedA, collectedA, true},
		"an app that is to keep":         {typedB, deletedA, false},
		"a new document of such an app":  {nil, deletedA, false},
		"what was dropped before it was": {collectedA, deletedA, false},
	} {
		d, s, _ := open(func(c2 *docs.Config) { c2.KeepsDeleted = func(docid.Document) bool { return !c.keeps } })
		if c.stored != nil {
			if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{KeepDeleted: c.keeps}, c.stored); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Put(t.Context(), todo, c.put, docs.PutOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _, err := d.Get(t.Context(), todo); err != nil || !got.KeepDeleted || !bytes.Contains(got.Body, []byte("secret")) {
			t.Errorf("%s: %q, kept %v: %v", name, got.Body, got.KeepDeleted, err)
		}
	}
}

// What kept its deleted content where it comes from goes on with it, without the app's
// setting and also where its content is already, which the next who stores it would drop.
func TestWhatIsPutGoesOnKeepingDeletedContent(t *testing.T) {
	for name, before := range map[string][]byte{"a new document": nil, "one that dropped it": collectedA, "one that has it still": deletedA} {
		d, s, _ := open()
		if before != nil {
			if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, before); err != nil {
				t.Fatal(err)
			}
		}
		for i, expected := range []bool{true, false} {
			result, err := d.Put(t.Context(), todo, deletedA, docs.PutOptions{KeepDeleted: true})
			if changed := err == nil && result.Outcome != docs.Unchanged; changed != expected {
				t.Errorf("%s, put %d times: %+v, %v", name, i+1, result, err)
			}
		}
		if got, _, err := d.Get(t.Context(), todo); err != nil || !got.KeepDeleted || !bytes.Contains(got.Body, []byte("secret")) {
			t.Errorf("%s: %q, kept %v: %v", name, got.Body, got.KeepDeleted, err)
		}
	}
}

func TestDeletedContentIsDroppedByACommand(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		d, s, p := open(func(c *docs.Config) { c.KeepsDeleted = func(docid.Document) bool { return keeps } })
		if _, err := d.Drop(t.Context(), todo); !errors.Is(err, storage.ErrAbsent) {
			t.Errorf("what is not there: %v", err)
		}
		if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{KeepDeleted: true, Generation: 7}, deletedA); err != nil {
			t.Fatal(err)
		}
		p.state, p.holder = kvpin.Live, "n1"
		if _, err := d.Drop(t.Context(), todo); !errors.As(err, new(*docs.LiveError)) {
			t.Errorf("while it is live: %v", err)
		}
		p.state, p.holder = kvpin.Free, ""
		if result, err := d.Drop(t.Context(), todo); err != nil || result.Outcome != docs.Dropped {
			t.Errorf("%+v, %v", result, err)
		}
		got, _, err := d.Get(t.Context(), todo)
		if err != nil || got.KeepDeleted != keeps || got.Generation != 7 || bytes.Contains(got.Body, []byte("secret")) {
			t.Errorf("%q, kept %v: %v", got.Body, got.KeepDeleted, err)
		}
		if content(t, got.Body) != content(t, deletedA) {
			t.Error("something else is gone as well")
		}
		want := docs.Unchanged
		if keeps {
			want = docs.Dropped
		}
		if result, err := d.Drop(t.Context(), todo); err != nil || result.Outcome != want {
			t.Errorf("again: %+v, %v", result, err)
		}
	}
}
