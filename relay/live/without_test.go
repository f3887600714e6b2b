package live

import (
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
	if err := s.look(t.Context()); err != nil {
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
