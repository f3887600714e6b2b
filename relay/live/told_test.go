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
	"github.com/wsnode/wsnode/test/natstest"
)

// sees waits until the room shows a text, without anybody editing.
func (v *visit) sees(text string) {
	v.t.Helper()
	eventually(v.t, text+" is seen", func() bool { return bytes.Contains(v.d.Room().Export(), []byte(text)) })
}

// Two regions cut from each other have a document that neither has stored before, and
// both store it. Whose region keeps it see what the others typed, although they do
// nothing.
func TestUsersSeeWhatTheOtherRegionHasStored(t *testing.T) {
	for name, usersLeave := range map[string]bool{"while its users stay": false, "after its users left": true} {
		t.Run(name, func(t *testing.T) {
			eu, s := storing(t)
			eu.brief()
			us := eu.apart("us-east-1")
			way := natstest.NewProxy(t, eu.url)
			eu.registryAt(way.URL)
			var up atomic.Bool
			s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
				if operation == "save" && !up.Load() {
					return storagetest.Down
				}
				return storagetest.None
			}
			a, c := eu.node("a"), us.node("c")
			europe := a.visit(t)
			europe.types("europe")
			way.Cut()
			var america *visit
			eventually(t, "the other region takes it over", func() bool {
				var err error
				america, err = c.tryVisit(t)
				return err == nil
			})
			defer america.leave()
			america.types("america")
			up.Store(true)
			eventually(t, "both have stored", func() bool {
				return a.saves.kept(europe.d.keeper).Clean && c.saves.kept(america.d.keeper).Clean
			})
			europe.types("more")
			eventually(t, "it is stored", func() bool { return a.saves.kept(europe.d.keeper).Clean })
			if usersLeave {
				europe.leave()
				a.settle(t)
			} else {
				europe.obeys()
			}
			way.Heal()
			america.sees("more")
			america.reads("europe")
			eventually(t, "the union is stored", func() bool {
				body := stored(t, s.Store).Body
				return bytes.Contains(body, []byte("more")) && bytes.Contains(body, []byte("america"))
			})
			eventually(t, "nothing is left where it was", func() bool { return len(a.leftOf(t, todo)) == 0 })
		})
	}
}

// A life that ended before it was stored is stored after another began: what was owed is
// seen there.
func TestUsersSeeWhatAFormerLifeOwed(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	s.Set(storagetest.Down)
	v := n.visit2(t, s)
	v.types("owed")
	v.leave()
	n.settle(t)
	pin, state := n.state(t)
	if state != kvpin.Owed {
		t.Fatalf("the pin is %s", state)
	}
	// The registry loses the pin, and another region knows of nothing.
	if _, err := n.registry.Evict(t.Context(), todo); err != nil {
		t.Fatal(err)
	}
	other := r.apart("us-east-1").node("c")
	later := other.visit2(t, s)
	defer later.leave()
	s.Set(storagetest.None)
	n.purges.suspect(life{todo, string(pin.Epoch)}, time.Now())
	later.sees("owed")
}

// A history may be older than what is in the store, and stands alone: who opens it
// compares the two.
func TestWhoOpensFromTheHistoryAloneLooksAtTheStore(t *testing.T) {
	r, s := storing(t)
	a, b := r.node("a"), r.node("b")
	one := a.visit(t)
	defer one.leave()
	one.types("one")
	if err := one.d.Room().Restore(t.Context()); err != nil { // the history has the whole then
		t.Fatal(err)
	}
	eventually(t, "it is stored", func() bool { return a.saves.kept(one.d.keeper).Clean })
	if _, err := s.Store.Save(t.Context(), todo, stored(t, s.Store).Version, storage.Meta{}, insert("theirs")); err != nil {
		t.Fatal(err)
	}
	two := b.visit(t)
	defer two.leave()
	if !two.d.keeper.alone {
		t.Fatal("it was opened with the store: nothing is tested")
	}
	two.sees("theirs")
	one.sees("theirs")
}

// So is a document whose pin is renewed, every few hours.
func TestADocumentIsComparedWithItsStoreWhenItsPinIsRenewed(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	v.types("one")
	eventually(t, "it is stored", func() bool { return n.saves.kept(v.d.keeper).Clean })
	if _, err := s.Store.Save(t.Context(), todo, stored(t, s.Store).Version, storage.Meta{}, insert("theirs")); err != nil {
		t.Fatal(err)
	}
	n.follower.Renewed(todo)
	v.sees("theirs")
}

// Rule 8: whoever cannot pay yet renews the pin, which would expire while the store is away.
func TestAPinThatIsOwedIsRenewedByWhoeverPays(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	s.Set(storagetest.Down)
	v.types("owed")
	v.leave()
	n.settle(t)
	before, state := n.state(t)
	if state != kvpin.Owed {
		t.Fatalf("the pin is %s", state)
	}
	l := life{todo, string(before.Epoch)}
	eventually(t, "its expiry is renewed", func() bool {
		n.payments.forget(l) // when it was renewed last
		n.purges.at(l, time.Now())
		pin, state := n.state(t)
		return state == kvpin.Owed && pin.Revision > before.Revision
	})
}

// A node has one room of a life: what is owed waits for whoever opens the document, and
// he does not wait for a store that hangs.
func TestAPaymentGivesWayToWhoOpensTheDocument(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	var fault atomic.Value
	fault.Store(storagetest.Down)
	hangs := make(chan struct{}, 1)
	s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if operation != "save" {
			return storagetest.None
		}
		f := fault.Load().(storagetest.Fault)
		if f == storagetest.Slow {
			select {
			case hangs <- struct{}{}:
			default:
			}
		}
		return f
	}
	v := n.visit(t)
	v.types("owed")
	v.leave()
	n.settle(t)
	pin, state := n.state(t)
	if state != kvpin.Owed {
		t.Fatalf("the pin is %s", state)
	}
	fault.Store(storagetest.Slow) // it never answers
	eventually(t, "it is being paid", func() bool {
		n.purges.at(life{todo, string(pin.Epoch)}, time.Now())
		select {
		case <-hangs:
			return true
		default:
			return false
		}
	})
	again := n.visit(t)
	again.reads("owed")
	if rooms := n.rooms.Counters.OpenRooms.Load(); rooms != 1 {
		t.Errorf("there are %d rooms of it", rooms)
	}
	fault.Store(storagetest.None)
	again.leave()
	n.settle(t)
	n.free(t)
	if body := stored(t, s.Store).Body; !bytes.Contains(body, []byte("owed")) {
		t.Errorf("the store holds %q", body)
	}
}

// Rule 10: a document may live without a store's keeping it, and be in the store. Its deletion
// is not put off for a node that still has it open: that one may be frozen.
func TestWhatNoStoreKeepsIsPurgedWithItsDeletionWhoeverHasItOpen(t *testing.T) {
	r, s := storing(t)
	without := r
	without.store, without.storeID = nil, ""
	without.node("old")
	a, b := r.node("a"), r.node("b")
	v := a.visit(t)
	defer v.leave()
	epoch := v.d.Room().Epoch()
	if docid.StoredEpoch(epoch) {
		t.Fatalf("a store keeps %s: nothing is tested", epoch)
	}
	v.types("old")
	meta := storage.Meta{Generation: storage.NewGeneration(), Epoch: epoch, Region: a.o.Region, Time: time.Now()}
	if _, err := s.Store.Delete(t.Context(), todo, storage.Absent, meta); err != nil {
		t.Fatal(err)
	}
	if err := b.follower.Told(t.Context(), todo, kvpin.Epoch(epoch)); err != nil {
		t.Fatal(err)
	}
	if last, err := b.lives.last(t.Context(), life{todo, epoch}); err != nil || last != 0 {
		t.Errorf("it is told, and the history ends at %d, %v", last, err)
	}
}

// A store is not asked for a document any more that is being given up, and whoever tells of a
// deletion meanwhile waits for its end and no longer.
func TestADeletionWaitsForADocumentThatIsBeingGivenUp(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	v := n.visit(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n.saves.end(ctx, v.d.keeper) // as it begins to close
	told := make(chan error, 1)
	go func() { told <- n.follower.Told(ctx, todo, kvpin.Epoch(v.d.room.Epoch())) }()
	eventually(t, "its end is waited for", func() bool {
		n.table.mu.Lock()
		defer n.table.mu.Unlock()
		return v.d.gone != nil
	})
	if err := n.Save(ctx, v.d); !errors.Is(err, errGivenUp) {
		t.Errorf("it is stored: %v", err)
	}
	v.seat.Leave()
	_, err := v.d.hold.Release(ctx, time.Now())
	v.d.room.Close()
	n.table.remove(v.d) // as it has closed
	if err = errors.Join(err, <-told); err != nil {
		t.Error(err)
	}
}
