package live

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// Whoever was told that a document was deleted is not told that it lives anew.
func TestADeletionIsTheLastWordOfADocumentThatEnds(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	s.Set(storagetest.Down) // so that nobody finds out by the store
	if _, err := v.d.hold.Release(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	v.d.fate.become(ErrDeleted)
	n.follower.Ended(todo, kvpin.Pin{})
	if why := n.reason(todo); why != nil {
		t.Errorf("its sessions are ended for %v", why)
	}
	v.leave()
}

// A store's answer may come when the document has been given up, and opened again.
func TestWhatIsSaidOfAFormerLifeDeletesNoOther(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	v := n.visit(t)
	former := v.d
	v.leave()
	n.settle(t)
	again := n.visit(t)
	defer again.leave()
	if again.d == former {
		t.Fatal("it was not given up: nothing is tested")
	}
	_ = n.follow(former, ErrDeleted)
	n.saves.came(former.keeper, ErrDeleted)
	if again.d.fate.deleted() || n.dismissed.Load() != 0 {
		t.Error("the document that was opened again is deleted")
	}
}
