package live

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// deletedBehind is a document that a user has open and the store had, in which it was deleted
// since without its node being told.
func deletedBehind(t *testing.T) (n *node, s *storagetest.Faulty, v *visit, tombstone storage.Version, meta storage.Meta) {
	t.Helper()
	r, s := storing(t)
	n = r.node("a")
	v = n.visit(t)
	v.types("one")
	eventually(t, "it is stored", func() bool { k := n.saves.kept(v.d.keeper); return k.Clean && !k.At.IsZero() })
	meta = storage.Meta{Generation: storage.NewGeneration()}
	tombstone, err := s.Store.Delete(t.Context(), todo, stored(t, s.Store).Version, meta)
	if err != nil {
		t.Fatal(err)
	}
	return n, s, v, tombstone, meta
}

// Rules 5 and 6: nothing of a document that was deleted comes back, whoever holds it.
func TestADeletedDocumentIsNotRevived(t *testing.T) {
	for name, finds := range map[string]func(n *node, v *visit){
		"by an edit": func(_ *node, v *visit) { v.types("late") },
		"by a look":  func(n *node, v *visit) { n.saves.look(v.d.keeper) },
		"when its pin is restored": func(n *node, _ *visit) {
			pin, _ := n.state(t)
			if err := n.follower.Restored(t.Context(), todo, pin); err != nil {
				t.Error(err)
			}
		},
		"when it moves to another epoch": func(n *node, _ *visit) {
			pin, _ := n.state(t)
			pin.Epoch = kvpin.Epoch(docid.NewStoredEpoch("other"))
			if err := n.follower.Rebased(t.Context(), todo, pin); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, s, v, _, _ := deletedBehind(t)
			finds(n, v)
			eventually(t, "its sessions are ended", func() bool { return n.dismissed.Load() == 1 })
			if err := v.d.StillHere(); !errors.Is(err, ErrDeleted) {
				t.Errorf("it is away: %v", err)
			}
			v.leave()
			n.settle(t)
			if _, err := n.tryVisit(t); !errors.Is(err, ErrDeleted) {
				t.Errorf("it opens: %v", err)
			}
			if _, err := s.Store.Stat(t.Context(), todo); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("the store has it: %v", err)
			}
			eventually(t, "its histories are purged", func() bool {
				for subject, err := range n.stored.Subjects(t.Context(), "") {
					if err != nil {
						t.Fatal(err)
					}
					doc, epoch, _ := docid.ParseUpdatesSubject(subject.Name)
					if found, err := n.lives.found(t.Context(), life{doc, epoch}); err != nil || !found.Clean() {
						return false
					}
				}
				return true
			})
		})
	}
}

// Rule 5: what a room holds of a former generation is not merged into another one that has
// its name by now, however the room comes upon it.
func TestAFormerGenerationIsNotMergedIntoThePresentOne(t *testing.T) {
	for name, finds := range map[string]func(n *node, v *visit){
		"by an edit": func(_ *node, v *visit) { v.types("late") },
		"by a look":  func(n *node, v *visit) { n.saves.look(v.d.keeper) },
		"when its pin is restored": func(n *node, _ *visit) {
			pin, _ := n.state(t)
			l := life{todo, string(pin.Epoch)}
			before, err := n.lives.found(t.Context(), l)
			if err := errors.Join(err, n.follower.Restored(t.Context(), todo, pin)); err != nil {
				t.Error(err)
			}
			if now, err := n.lives.found(t.Context(), l); err != nil || now.Changed != before.Changed {
				t.Errorf("the history got more: %+v, before %+v: %v", now, before, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, s, v, tombstone, meta := deletedBehind(t)
			anew := insert("anew")
			if _, err := s.Store.Save(t.Context(), todo, tombstone, meta, anew); err != nil {
				t.Fatal(err)
			}
			finds(n, v)
			eventually(t, "its sessions are ended", func() bool { return n.dismissed.Load() == 1 })
			v.leave()
			n.settle(t)
			if got := stored(t, s.Store); !bytes.Equal(got.Body, anew) || got.Generation != meta.Generation {
				t.Errorf("the store holds %q of generation %v", got.Body, got.Generation)
			}
		})
	}
}
