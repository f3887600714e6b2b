package kvpin

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

// storing has a node keep documents in a store, which has what covered says.
func storing(covered *bool) func(*Config) {
	return func(c *Config) {
		c.Backstop = 10 * worldLeaseTTL
		c.Store = func(docid.LicenseRegion) string { return "STORE" }
		c.Covered = func(context.Context, docid.Document, Epoch) (bool, error) { return *covered, nil }
		c.Alive = func(context.Context, docid.Document, Epoch) (bool, error) { return false, nil }
	}
}

// owe has the node leave a document that is not stored.
func (n *testNode) owe(doc docid.Document) Pin {
	n.t.Helper()
	release(n.t, n.hold(doc))
	p, s := n.lookup(doc)
	if s != Owed || !p.Owed || len(p.Holders) != 0 || !docid.StoredEpoch(string(p.Epoch)) {
		n.t.Fatalf("the pin of a document that is not stored is %s after its last holder: %+v", s, p)
	}
	return p
}

// Rule 8: a store may be away for days, and the pin stays as long as somebody tries.
func TestAnOwedPinStaysWhileItIsRenewedAndEndsWhenItIsPaid(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		covered := false
		a := w.node("eu-central-1", "a", storing(&covered))
		doc := testDoc("owed")
		p := a.owe(doc)
		half := a.cfg.Backstop / 2
		for range 6 {
			time.Sleep(half)
			if err := a.StillOwed(context.Background(), doc, "another life"); err != nil {
				w.t.Fatal(err)
			}
			if err := a.StillOwed(context.Background(), doc, p.Epoch); err != nil {
				w.t.Fatal(err)
			}
		}
		if now, s := a.lookup(doc); s != Owed || now.Epoch != p.Epoch {
			w.t.Fatalf("after %v the pin is %s: %+v", 6*half, s, now)
		}
		if err := a.Paid(context.Background(), doc, "another life"); err != nil {
			w.t.Fatal(err)
		}
		if _, s := a.lookup(doc); s != Owed {
			w.t.Errorf("it is %s after another life was paid", s)
		}
		if err := a.Paid(context.Background(), doc, p.Epoch); err != nil {
			w.t.Fatal(err)
		}
		eventually(w.t, worldGrace+worldLate, "the pin is gone", func() bool { _, s := a.lookup(doc); return s == Free })

		// Nobody pays and nobody renews: the region may be gone for good.
		a.owe(doc)
		eventually(w.t, a.cfg.Backstop+worldLate, "a pin that nobody renews is gone", func() bool { _, s := a.lookup(doc); return s == Free })
	})
}

// Rule 8: users of the region go on with its history; others do not begin with what is
// older, until the region has nobody who could pay.
func TestAnOwedPinIsTakenOverOnlyFromARegionThatIsGone(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		covered := false
		a := w.node("eu-central-1", "a", storing(&covered))
		b := w.node("us-east-1", "b", storing(&covered))
		doc := testDoc("owed")
		p := a.owe(doc)
		time.Sleep(2 * worldLeaseTTL) // the other may judge who is alive by then
		var pinned *PinnedError
		if _, err := b.Hold(context.Background(), doc); !errors.As(err, &pinned) || pinned.Pin.Region != "eu-central-1" {
			w.t.Fatalf("another region asks for a document that is owed: %v", err)
		}
		again := a.hold(doc)
		if now := again.Pin(); now.Epoch != p.Epoch || now.Owed {
			w.t.Errorf("the region goes on in %+v instead of %s", now, p.Epoch)
		}
		if err := a.Paid(context.Background(), doc, p.Epoch); err != nil { // by a node that did not know
			w.t.Fatal(err)
		}
		if now, s := a.lookup(doc); s != Live || len(now.Holders) != 1 {
			w.t.Errorf("it was paid while somebody has it, and is %s: %+v", s, now)
		}
		release(w.t, again)
		a.kill()
		eventually(w.t, 6*worldLeaseTTL, "the document is taken over", func() bool {
			h, err := b.Hold(context.Background(), doc)
			return err == nil && h.Pin().Region == "us-east-1" && h.Pin().Epoch != p.Epoch
		})
	})
}

// Rule 8: who died did not look whether all is stored.
func TestThePinOfADeadNodeIsOwedIfItsLifeIsNotStored(t *testing.T) {
	for _, stored := range []bool{false, true} {
		inVirtualTime(t, func(w *world) {
			covered := stored
			a := w.node("eu-central-1", "a", storing(&covered))
			b := w.node("eu-central-1", "b", storing(&covered))
			doc := testDoc("orphan")
			p := a.hold(doc).Pin()
			a.kill()
			if stored {
				eventually(w.t, 12*worldLeaseTTL, "the pin is gone", func() bool { _, s := b.lookup(doc); return s == Free })
				return
			}
			eventually(w.t, 4*worldLeaseTTL, "it is owed", func() bool {
				now, s := b.lookup(doc)
				return s == Owed && now.Epoch == p.Epoch && len(now.Holders) == 0
			})
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.unpinned) == 0 || b.unpinned[0] != doc {
				w.t.Errorf("who pays was told of %v", b.unpinned)
			}
		})
	}
}

// Rule 8: a history that cannot be asked may hold what the store lacks.
func TestAPinIsOwedWhileNobodyKnowsWhetherItsLifeIsStored(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a := w.node("eu-central-1", "a", storing(new(bool)), func(c *Config) {
			c.Covered = func(context.Context, docid.Document, Epoch) (bool, error) { return false, errors.New("no answer") }
		})
		a.owe(testDoc("unknown"))
	})
}

// A node that ends in order does not die, so that nobody would look for what it leaves: the
// others are to hear of it, whoever it was that had a share in it.
func TestWhatANodeLeavesOwedIsLookedForByTheOthers(t *testing.T) {
	told := func(n *testNode, doc docid.Document) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.Contains(n.unpinned, doc)
	}
	const soon = 3 * worldLeaseTTL // a lease time after the loss, or a quarter more
	leaving := map[string]func(w *world, a, b *testNode, doc docid.Document){
		"who left it so": func(_ *world, a, _ *testNode, doc docid.Document) { a.owe(doc) },
		"who pays": func(w *world, a, b *testNode, doc docid.Document) {
			p := b.owe(doc)
			if err := a.StillOwed(context.Background(), doc, p.Epoch); err != nil {
				w.t.Fatal(err)
			}
			b.buckets[testLicense].pins.debts.note(doc, false) // as if it had not known
		},
		"who was told of it": func(w *world, a, b *testNode, doc docid.Document) {
			b.owe(doc)
			b.buckets[testLicense].pins.debts.note(doc, false)
			a.buckets[testLicense].sweeper.ask(leaseLost)
			eventually(w.t, soon, "it is told", func() bool { return told(a, doc) })
		},
		"who was about to look": func(w *world, a, b *testNode, doc docid.Document) {
			b.owe(doc)
			b.buckets[testLicense].pins.debts.note(doc, false)
			a.buckets[testLicense].sweeper.ask(leaseLost)
		},
		"who is in the pin": func(w *world, a, _ *testNode, doc docid.Document) { a.hold(doc) },
	}
	for name, before := range leaving {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				covered := false
				a, b := w.node("eu-central-1", "a", storing(&covered)), w.node("eu-central-1", "b", storing(&covered))
				time.Sleep(4 * worldLeaseTTL) // what was there when they came they have looked at
				doc := testDoc("owed")
				before(w, a, b, doc)
				a.gone = true
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_ = a.Close(ctx)
				eventually(w.t, soon, "the other is told", func() bool { return told(b, doc) })
			})
		})
	}
}

// And what is paid is no reason to look.
func TestANodeThatHasPaidLeavesNothing(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		covered := false
		a, b := w.node("eu-central-1", "a", storing(&covered)), w.node("eu-central-1", "b", storing(&covered))
		one, two := testDoc("paid here"), testDoc("paid there")
		first, second := a.owe(one), a.owe(two)
		if err := a.Paid(context.Background(), one, first.Epoch); err != nil {
			w.t.Fatal(err)
		}
		if err := b.Paid(context.Background(), two, second.Epoch); err != nil {
			w.t.Fatal(err)
		}
		a.lookup(two)
		time.Sleep(4 * worldLeaseTTL)
		if a.buckets[testLicense].owes() || b.buckets[testLicense].owes() {
			w.t.Error("all is paid, and others would look for more")
		}
	})
}

// One that does not answer does not keep all that others left for another SweepAfter.
func TestASweepThatFailsIsTriedAgainSoon(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		covered := false
		late := func(c *Config) { c.SweepAfter, c.Backstop = 8*worldLeaseTTL, 100*worldLeaseTTL }
		a, b := w.node("eu-central-1", "a", storing(&covered), late), w.node("eu-central-1", "b", storing(&covered), late)
		docs := []docid.Document{testDoc("1"), testDoc("2"), testDoc("3")}
		for _, doc := range docs {
			a.hold(doc)
		}
		a.kill()
		time.Sleep(8 * worldLeaseTTL) // the lease is gone, and the sweep has not begun
		b.link.Once(kvtest.Fault{Outcome: kvtest.Lost}, true, "pin.")
		eventually(w.t, 4*worldLeaseTTL, "all are owed", func() bool {
			for _, doc := range docs {
				if _, s := b.lookup(doc); s != Owed {
					return false
				}
			}
			return true
		})
	})
}

// What a node was to do of which no registry knows, its region looks for when it has died, or
// has left and says that there is something.
func TestTheRegionIsToldOfWhoLeftSomethingToBeDone(t *testing.T) {
	for name, c := range map[string]struct {
		owes bool
		goes func(*testNode)
		told int
	}{
		"it dies":                      {false, (*testNode).kill, 1},
		"it leaves with nothing to do": {false, (*testNode).leave, 0},
		"it leaves before it is done":  {true, (*testNode).leave, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a := w.node("eu-central-1", "a", func(cfg *Config) { cfg.Owes = func(docid.LicenseRegion) bool { return c.owes } })
				b := w.node("eu-central-1", "b")
				told := func() int {
					b.mu.Lock()
					defer b.mu.Unlock()
					return b.swept
				}
				time.Sleep(time.Minute) // both have looked for what was there before them
				before := told()
				c.goes(a)
				time.Sleep(time.Minute)
				if n := told() - before; n != c.told {
					w.t.Errorf("the region is told %d times, expected %d", n, c.told)
				}
			})
		})
	}
}
