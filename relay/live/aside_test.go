package live

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// A frozen node may append to a life whose history is gone, its marker included. What it
// appended is not the document, however often storing it has failed.
func TestLeftoversWithoutABaseAreStoredBesideTheDocument(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	epoch := docid.NewStoredEpoch("former")
	l := life{todo, epoch}
	update := oplog.Kept.Append(nil, 7, oplog.Updates, 1, insert("left over"))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), update, 0, 0); err != nil {
		t.Fatal(err)
	}
	beside := todo
	beside.Name += "@orphan-" + epoch
	if _, err := s.Store.Save(t.Context(), beside, storage.Absent, storage.Meta{}, insert("somebody's")); err != nil {
		t.Fatal(err)
	}
	s.Set(storagetest.Down)
	n.purges.suspect(l, time.Now())
	eventually(t, "storing it has failed", func() bool {
		n.payments.mu.Lock()
		defer n.payments.mu.Unlock()
		return n.payments.storeLocked(license).wait > time.Second // more than once
	})
	s.Set(storagetest.None)
	holds := func(d docid.Document, text string) bool {
		got, err := s.Store.Load(t.Context(), d, func(context.Context, int64) error { return nil })
		return err == nil && bytes.Contains(got.Body, []byte(text))
	}
	eventually(t, "it is beside the document", func() bool {
		page, err := s.Store.List(t.Context(), storage.Query{License: todo.License, Tenant: todo.Tenant, App: todo.App, Name: beside.Name + "-"})
		return err == nil && len(page.Entries) == 1 && holds(page.Entries[0].Document, "left over")
	})
	if !holds(beside, "somebody's") {
		t.Error("what had that name was overwritten")
	}
	if _, err := s.Store.Stat(t.Context(), todo); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("what is left over was taken for the document: %v", err)
	}
	eventually(t, "its history is purged", func() bool {
		last, err := n.stored.Last(t.Context(), n.lives.subject(l))
		return err == nil && last == 0
	})
}

// Somebody may open a life while it is found to have no base: it is not left over then. What
// an attempt before has stored beside the document is not stored once more.
func TestOnlyWhatIsLeftOverIsSetAside(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	l := life{todo, docid.NewStoredEpoch("former")}
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, oplog.Base{Store: r.storeID}))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.leaves(t, l, "of a room")
	if err := n.payments.setAside(t.Context(), l); !errors.Is(err, errAgain) {
		t.Errorf("%v, expected %v", err, errAgain)
	}
	if left := n.holds(t, l); left.Messages != 2 {
		t.Errorf("of its history is left: %+v", left)
	}
	body := insert("left over")
	first, err := n.payments.saveBeside(t.Context(), s.Store, l, body)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.payments.saveBeside(t.Context(), s.Store, l, body); err != nil || again != first {
		t.Errorf("it is at %s and at %s: %v", first, again, err)
	}
}
