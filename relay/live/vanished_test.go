package live

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// forgetful is a store that says of a document, while it is told to, that it is absent when
// it is to be loaded.
type forgetful struct {
	storage.Store
	forgets atomic.Bool
}

func (f *forgetful) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	if f.forgets.Load() && d == todo {
		return storage.Stored{}, storage.ErrAbsent
	}
	return f.Store.Load(ctx, d, reserve)
}

// Rule 11: what a history stands on is not absent, whoever says so, and however a room comes
// upon it. Nothing is written in its place, nothing is restored on it, and what has yet to be
// stored stays in the history.
func TestAbsentBehindABaseIsAFailureWhereverARoomMeetsIt(t *testing.T) {
	for name, meets := range map[string]func(v *visit, s *storagetest.Faulty, f *forgetful) error{
		"when it stores": func(v *visit, s *storagetest.Faulty, _ *forgetful) error {
			setBack(s, nil)
			return v.n.Save(t.Context(), v.d)
		},
		"when it loads what others have stored": func(v *visit, s *storagetest.Faulty, f *forgetful) error {
			f.forgets.Store(true)
			if _, err := s.Store.Save(t.Context(), todo, stored(t, s.Store).Version, storage.Meta{}, insert("theirs")); err != nil {
				t.Fatal(err)
			}
			return v.n.Save(t.Context(), v.d)
		},
		"when it looks": func(v *visit, s *storagetest.Faulty, _ *forgetful) error {
			setBack(s, nil)
			return v.d.keeper.look(t.Context())
		},
		"when it looks, and loads": func(v *visit, s *storagetest.Faulty, f *forgetful) error {
			f.forgets.Store(true)
			if _, err := s.Store.Save(t.Context(), todo, stored(t, s.Store).Version, storage.Meta{}, insert("theirs")); err != nil {
				t.Fatal(err)
			}
			return v.d.keeper.look(t.Context())
		},
		"when its pin is restored": func(v *visit, s *storagetest.Faulty, _ *forgetful) error {
			setBack(s, nil)
			pin, _ := v.n.state(t)
			before, err := v.n.lives.found(t.Context(), life{todo, string(pin.Epoch)})
			if err != nil {
				t.Fatal(err)
			}
			err = v.n.follower.Restored(t.Context(), todo, pin)
			if now, _ := v.n.lives.found(t.Context(), life{todo, string(pin.Epoch)}); now.Last != before.Last {
				t.Errorf("the history got more: %+v, before %+v", now, before)
			}
			if errors.Is(err, storage.ErrAbsent) {
				err = errVanished
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := storing(t)
			f := &forgetful{Store: s}
			r.store = f
			r.options = func(o *Options) { o.StoreFirst, o.StoreInterval = time.Hour, time.Hour }
			n := r.node("a")
			v := n.visit(t)
			v.types("one")
			n.savesNow(t, v)
			v.types("two")
			if err := meets(v, s, f); !errors.Is(err, errVanished) {
				t.Errorf("%v, expected %v", err, errVanished)
			}
			if !v.d.room.Changed() || n.dismissed.Load() != 0 {
				t.Error("what was typed counts as stored, or its users are sent away")
			}
			if got, err := s.Store.Load(t.Context(), todo, nil); err == nil && bytes.Contains(got.Body, []byte("two")) {
				t.Errorf("it was written in the place of what is gone: %q", got.Body)
			}
			v.leave()
			n.settle(t)
			if pin, state := n.state(t); state != kvpin.Owed {
				t.Errorf("the pin is %s: %+v", state, pin)
			}
		})
	}
}

// A document that nobody edits is only looked for in its store, again and again: that the store
// has lost it an operator hears of once.
func TestThatTheStoreOfAnUneditedDocumentHasLostItIsTold(t *testing.T) {
	r, s := storing(t)
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	n.savesNow(t, v)
	setBack(s, nil)
	for range 4 {
		n.saves.workLook(t.Context(), v.d.keeper)
	}
	const told = "cannot be compared with its store"
	if n.log.count(told) != 1 {
		t.Errorf("an operator is told %d times", n.log.count(told))
	}
	s.Set(storagetest.Down) // which is said of the store, and not of each document
	for range 4 {
		n.saves.workLook(t.Context(), v.d.keeper)
	}
	if n.log.count(told) != 1 {
		t.Errorf("of a store that is away an operator is told %d times", n.log.count(told)-1)
	}
}
