package kvpin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
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
