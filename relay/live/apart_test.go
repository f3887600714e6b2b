package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Each license region has its own registry and its own store: what fails of one keeps no
// other waiting, and what fails of one life keeps no other life waiting.

const elsewhere = docid.LicenseRegion("aws-us-east-1")

// twoLicenses is a region that serves another license region as well, with a store of its own
// or none.
func twoLicenses(t *testing.T, other func() (storage.Store, string)) (region, *storagetest.Faulty) {
	r, s := storing(t)
	r.pins = func(c *kvpin.Config) {
		c.Registries[elsewhere] = c.Registries[license]
		own := c.Store
		c.Store = func(l docid.LicenseRegion) string {
			if l != elsewhere {
				return own(l)
			}
			_, id := other()
			return id
		}
	}
	r.options = func(o *Options) {
		own := o.Store
		o.Store = func(l docid.LicenseRegion) (storage.Store, string) {
			if l != elsewhere {
				return own(l)
			}
			return other()
		}
	}
	return r, s
}

// owes has the history of a former life of a document hold what its store lacks.
func (n *node) owes(t *testing.T, doc docid.Document, store string) life {
	t.Helper()
	l := life{doc, docid.NewStoredEpoch("former")}
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, oplog.Base{Store: store}))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(l), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.leaves(t, l, "owed")
	return l
}

// A store that is away, or not known yet, is waited for by lives of its own license region
// only; a node that has none for it does not wait for that, but leaves it to others.
func TestTheStoreOfOneLicenseRegionKeepsNoOtherWaiting(t *testing.T) {
	down := &storagetest.Faulty{Store: storagetest.NewMemory()}
	down.Set(storagetest.Down)
	for name, c := range map[string]struct {
		store storage.Store
		id    string
		waits bool
	}{
		"is away":          {down, "other", true},
		"is not known yet": {down, "", true},
		"is none":          {nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := twoLicenses(t, func() (storage.Store, string) { return c.store, c.id })
			n := r.node("a")
			there := todo
			there.License = elsewhere
			l := n.owes(t, there, "other")
			var next time.Duration
			eventually(t, "it was tried to store it", func() bool {
				var err error
				next, err = n.payments.endLife(t.Context(), l)
				return isStores(err) || errors.Is(err, errNoStore)
			})
			n.payments.mu.Lock()
			b := *n.payments.storeLocked(elsewhere)
			n.payments.mu.Unlock()
			if waits := b.wait > 0; waits != c.waits {
				t.Errorf("its own license region waits %s for it", b.wait)
			}
			if c.waits != (next < stuckAgain/2) || n.log.says("until an operator has looked") {
				t.Errorf("it is tried again in %s", next)
			}
			n.purges.at(n.owes(t, todo, r.storeID), time.Now())
			eventually(t, "what the other license region owes is stored", func() bool {
				return bytes.Contains(stored(t, s.Store).Body, []byte("owed"))
			})
			n.payments.mu.Lock()
			defer n.payments.mu.Unlock()
			if wait := n.payments.storeLocked(license).wait; wait > 0 {
				t.Errorf("the other license region waits %s", wait)
			}
		})
	}
}

// Whatever keeps one life from being stored, others go on, unless it is their store that fails.
func TestWhatFailsOfOneLifeKeepsNoOtherWaiting(t *testing.T) {
	n := region{t: t}.unstarted()
	p := &n.payments
	l, other := life{numbered("one", 1), "s-1"}, life{numbered("other", 1), "s-2"}
	waits := func() time.Duration {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.storeLocked(license).wait
	}
	for _, err := range []error{
		fmt.Errorf("open: %w", history.ErrUnavailable), history.ErrOutrun, context.DeadlineExceeded,
		errVanished, errOtherStore, errNoStore, &storeError{"load", storage.ErrCorrupt}, &storeError{"save", storage.ErrTooLarge},
		oplog.ErrMalformed, &oplog.KindError{}, &oplog.VersionError{}, fmt.Errorf("merge: %w", &ystore.UpdateError{}),
	} {
		if next := p.came(l, err); waits() > 0 || next < time.Second {
			t.Errorf("%v: others wait %s, and it is tried again in %s", err, waits(), next)
		}
	}
	away := &storeError{"save", storage.ErrRefused}
	if p.came(l, away); waits() == 0 {
		t.Fatal("nobody waits for a store that is away")
	}
	p.came(other, nil)
	var nexts []time.Duration
	for range 8 { // a store that refuses one document and takes others
		nexts = append(nexts, p.came(l, away))
		if waits() > 0 {
			t.Fatalf("others wait %s for a store that takes them", waits())
		}
		p.came(other, nil)
	}
	if most := slices.Max(nexts); most < 10*time.Second || most > payMost {
		t.Errorf("what is refused again and again is tried again in %v", nexts)
	}
	p.came(l, nil)
	if p.came(l, away); waits() == 0 {
		t.Error("nobody waits for a store that is away again")
	}
}

// Stores that hang have only their own documents wait.
func TestASaveThatHangsKeepsNoOtherLicenseRegionWaiting(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	for range savesAtOnce {
		n.saves.slots.take(t.Context(), elsewhere)
	}
	v := n.visit(t)
	v.types("one")
	eventually(t, "it is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("one")) })
	v.types("two")
	v.leave()
	n.settle(t)
	if !bytes.Contains(stored(t, s.Store).Body, []byte("two")) {
		t.Error("what came last is not stored")
	}
}

// What is due while as many as may are stored at a time is stored behind them.
func TestWhatIsDueWaitsForAPlaceAndIsStoredThen(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	for range savesAtOnce {
		n.saves.slots.take(t.Context(), license)
	}
	v.types("one")
	eventually(t, "it has asked for a place", func() bool {
		n.saves.slots.mu.Lock()
		defer n.saves.slots.mu.Unlock()
		return n.saves.slots.full[license]
	})
	if body := stored(t, s.Store).Body; body != nil {
		t.Errorf("the store holds %q", body)
	}
	n.saves.giveSlot(v.d.keeper)
	eventually(t, "it is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("one")) })
}

// mute is a registry that does not answer for one license region, and says which documents
// of others it was asked for.
type mute struct {
	Registry
	asked chan docid.Document
}

func (m mute) Serves(docid.LicenseRegion) bool { return true }

func (m mute) Lookup(ctx context.Context, d docid.Document) (kvpin.Pin, kvpin.State, error) {
	if d.License == elsewhere {
		<-ctx.Done()
		return kvpin.Pin{}, kvpin.Free, kvpin.ErrUnavailable
	}
	m.asked <- d
	return kvpin.Pin{}, kvpin.Free, nil
}

func TestARegistryThatHangsKeepsTheLivesOfNoOtherFromTheirEnd(t *testing.T) {
	r, _ := storing(t)
	m := mute{asked: make(chan docid.Document, 100)}
	r.options = func(o *Options) { m.Registry, o.Registry = o.Registry, m }
	n := r.node("a")
	for i := range 2 * cleaners {
		d := numbered("there", i)
		d.License = elsewhere
		n.purges.at(life{d, docid.NewStoredEpoch("former")}, time.Now())
	}
	eventually(t, "the registry is asked for as many as may be", func() bool {
		n.purges.mu.Lock()
		defer n.purges.mu.Unlock()
		lane := n.purges.lanes[elsewhere]
		return lane != nil && lane.cleaners == cleaners && len(lane.due) == cleaners
	})
	n.purges.at(life{todo, docid.NewStoredEpoch("former")}, time.Now())
	eventually(t, "a life of the other license region is looked at", func() bool { return len(m.asked) > 0 })
	n.purges.mu.Lock()
	defer n.purges.mu.Unlock()
	if len(n.purges.lanes[elsewhere].due) == 0 {
		t.Error("the registry has answered: nothing is tested")
	}
}

// A sweep passes a license region over whose registry does not answer, and says so.
func TestASweepGoesOnBesideARegistryThatDoesNotAnswer(t *testing.T) {
	n := region{t: t}.unstarted()
	n.o.Registry, n.o.Bus = mute{}, deserted{}
	there := todo
	there.License = elsewhere
	var all iter.Seq2[history.Subject, error] = func(yield func(history.Subject, error) bool) {
		_ = yield(history.Subject{Name: there.UpdatesSubject(0, "left")}, nil) && yield(history.Subject{Name: todo.UpdatesSubject(0, "left")}, nil)
	}
	s := sweep{docs: n.Documents, every: time.Hour}
	found, err := s.suspects(t.Context(), "", all, func(l life, _ history.Subject) (bool, error) {
		if l.doc.License == elsewhere {
			return false, kvpin.ErrUnavailable
		}
		return true, nil
	})
	if found != 1 || !errors.Is(err, kvpin.ErrUnavailable) {
		t.Errorf("it finds %d, %v", found, err)
	}
}
