package live

import (
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/storage"
)

// withStore is the region whose nodes have the histories of stored lives, and s for the
// documents of the tests.
func (r region) withStore(s storage.Store, id string) region {
	before := r.options
	r.options = func(o *Options) {
		if before != nil {
			before(o)
		}
		o.Store = func(docid.LicenseRegion) (storage.Store, string) { return s, id }
	}
	return r
}

// wouldEnd reports whether the node's sweep has it look after a life that nobody has open.
func (n *node) wouldEnd(t *testing.T, l life) (owed bool) {
	t.Helper()
	s := &sweep{docs: n.Documents, every: time.Hour, swept: make(chan struct{}, 1)}
	if err := s.look(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	n.purges.mu.Lock()
	defer n.purges.mu.Unlock()
	_, owed = n.purges.owed[l]
	return owed
}

// ends has the node do what it may to bring a life to its end, and returns when it comes
// again.
func (n *node) ends(t *testing.T, l life) (next time.Duration) {
	t.Helper()
	eventually(t, "the region and the registry answer", func() (answered bool) {
		var err error
		next, err = n.payments.endLife(t.Context(), l)
		return err == nil
	})
	return next
}

// Rule 10: what a node leaves behind when it dies is purged by nodes that have its store,
// and by no others: not by one that has a store for other license regions only, nor by one
// that has another store, or has yet to find out which one it has. Nor does such a node end
// the pin, though the history says that all is stored.
func TestOnlyANodeWithTheStoreOfALifeEndsIt(t *testing.T) {
	for name, owed := range map[string]bool{"its pin is lost": false, "its pin is owed": true} {
		t.Run(name, func(t *testing.T) {
			r, s := storing(t)
			other, _ := storing(t)
			if owed {
				r.brief()
			}
			a := r.node("a")
			v := a.visit(t)
			v.types("one")
			eventually(t, "it is stored", func() bool { return a.saves.kept(v.d.keeper).Clean })
			l := life{todo, v.d.Room().Epoch()}
			a.kill()
			if !owed {
				r.losePin()
			}
			without := map[string]*node{
				"without a store":       r.withStore(nil, "").node("b"),
				"with another store":    r.withStore(other.store, other.storeID).node("c"),
				"with an unknown store": r.withStore(s, "").node("d"),
			}
			for name, n := range without {
				if owed {
					eventually(t, "its pin is owed", func() bool { _, state := n.state(t); return state == kvpin.Owed })
				} else if n.wouldEnd(t, l) && name == "without a store" {
					t.Errorf("a node %s looks after it", name)
				}
				if next := n.ends(t, l); (next == 0) != (name == "without a store") {
					t.Errorf("a node %s comes again in %s", name, next)
				}
				var left history.Subject
				for subject, err := range n.stored.Subjects(t.Context(), "") {
					if err != nil {
						t.Fatal(err)
					}
					left = subject
				}
				found, err := n.lives.found(t.Context(), l)
				if err != nil || found.Ended || left.Messages < 2 {
					t.Errorf("a node %s purged it: %d messages are left, %+v, %v", name, left.Messages, found, err)
				}
				if _, state := n.state(t); owed && state != kvpin.Owed {
					t.Errorf("a node %s ended its pin, which is %s", name, state)
				}
			}
			last := r.node("e")
			eventually(t, "a node with the store ends it", func() bool {
				if _, err := last.payments.endLife(t.Context(), l); err != nil {
					return false
				}
				_, state := last.state(t)
				return state == kvpin.Free && len(last.leftOf(t, todo)) == 0
			})
		})
	}
}

// Nor does such a node purge what is left of a history without a base, which it cannot store,
// or what it is told was deleted.
func TestANodeWithoutAStoreLeavesAloneWhatItCannotStore(t *testing.T) {
	r, s := storing(t)
	n := r.withStore(nil, "").node("b")
	l := life{todo, docid.NewStoredEpoch("former")}
	n.leaves(t, l, "left over")
	if _, err := n.payments.endLife(t.Context(), l); !errors.Is(err, errNoStore) {
		t.Errorf("%v, expected %v", err, errNoStore)
	}
	if _, err := s.Store.Delete(t.Context(), todo, storage.Absent, storage.Meta{Generation: storage.NewGeneration()}); err != nil {
		t.Fatal(err)
	}
	if err := n.follower.Told(t.Context(), todo, kvpin.Epoch(l.epoch)); err != nil {
		t.Errorf("of a deletion it is told again: %v", err)
	}
	if left := n.holds(t, l); left.Messages != 1 {
		t.Errorf("of its history is left: %+v", left)
	}
}

// Rules 5 and 10: a life that began without the store has no part in what the store says of
// its document: not while nobody has it open, when a deletion is all that is left there, nor
// when it is deleted while it is open.
func TestALifeWithoutTheStoreIsDeletedByTheStore(t *testing.T) {
	r, s := storing(t)
	without := r
	without.store, without.storeID = nil, ""
	without.node("old")
	n := r.node("a")
	v := n.visit(t)
	v.obeys()
	epoch := v.d.Room().Epoch()
	if docid.StoredEpoch(epoch) {
		t.Fatalf("a store keeps %s: nothing is tested", epoch)
	}
	v.types("old")
	meta := storage.Meta{Generation: storage.NewGeneration(), Epoch: epoch}
	if _, err := s.Store.Delete(t.Context(), todo, storage.Absent, meta); err != nil {
		t.Fatal(err)
	}
	if err := n.follower.Told(t.Context(), todo, kvpin.Epoch(epoch)); err != nil {
		t.Fatal(err)
	}
	if why := n.reason(todo); !errors.Is(why, ErrDeleted) {
		t.Errorf("its sessions are ended for %v", why)
	}
	if last, err := n.lives.last(t.Context(), life{todo, epoch}); err != nil || last != 0 {
		t.Errorf("its history ends at %d, %v", last, err)
	}
	if _, err := n.tryVisit(t); !errors.Is(err, errMixed) {
		t.Errorf("what was deleted begins without the store: %v", err)
	}
}
