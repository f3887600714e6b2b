package kvpin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// The contract of the registry, on the fake and on NATS.

func TestFirstRegionWinsAndTheOtherIsRedirected(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		if _, s := b.lookup(doc); s != Free {
			w.t.Fatalf("at first: %s", s)
		}
		h := a.hold(doc)
		if _, err := a.Hold(context.Background(), doc); !errors.Is(err, ErrHeld) {
			w.t.Fatalf("a second hold on one node: %v", err)
		}
		_, err := b.Hold(context.Background(), doc)
		var pinned *PinnedError
		if !errors.As(err, &pinned) || pinned.Pin.Region != "eu-central-1" || pinned.Document != doc {
			w.t.Fatalf("hold from another region: %v", err)
		}
		p, s := b.lookup(doc)
		if s != Live || p.Epoch != h.Pin().Epoch || p.Revision != h.Pin().Revision || len(p.Holders) != 1 || p.Holders[0].Node != "a" {
			w.t.Fatalf("looked up from another region: %s, %+v", s, p)
		}
		if url, err := b.RegionURL(context.Background(), p.Region); err != nil || url != "wss://eu-central-1.example" {
			w.t.Fatalf("URL of the region: %q, %v", url, err)
		}
	})
}

func TestPinStaysForTheGracePeriodAndThenGoes(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		h := a.hold(doc)
		start := time.Now()
		if !release(w.t, h) {
			w.t.Fatal("the only holder was not the last")
		}
		if last, err := h.Release(context.Background(), time.Now()); last || err != nil {
			w.t.Fatalf("a second release: %v, %v", last, err)
		}
		if _, s := b.lookup(doc); s != Grace {
			w.t.Fatalf("after the release: %s", s)
		}
		var pinned *PinnedError
		if _, err := b.Hold(context.Background(), doc); !errors.As(err, &pinned) {
			w.t.Fatalf("hold from another region within the grace period: %v", err)
		}
		eventually(w.t, worldGrace+worldLate, "unpinned", func() bool { _, s := b.lookup(doc); return s == Free })
		if d := time.Since(start); d < worldGrace {
			w.t.Fatalf("unpinned after %s", d)
		}
		if second := b.hold(doc); second.Pin().Epoch == h.Pin().Epoch {
			w.t.Fatal("a new life has the old epoch")
		}
	})
}

func TestTheTimeSinceTheLastSessionCountsTowardsTheGracePeriod(t *testing.T) {
	worlds(t, func(w *world) {
		a := w.node("eu-central-1", "a")
		doc := testDoc("x")
		h := a.hold(doc)
		start := time.Now()
		time.Sleep(time.Second)
		if _, err := h.Release(context.Background(), start); err != nil {
			w.t.Fatal(err)
		}
		eventually(w.t, worldGrace+worldLate-time.Second, "unpinned", func() bool { _, s := a.lookup(doc); return s == Free })
		if d := time.Since(start); d < worldGrace {
			w.t.Fatalf("unpinned after %s", d)
		}
	})
}

func TestGracePeriodCountsFromTheLastSessionOnAnyNode(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		slow, quick := a.hold(doc), b.hold(doc)
		start := time.Now()
		release(w.t, quick)
		// This one left first and is the last to say so.
		if last, err := slow.Release(context.Background(), start.Add(-worldGrace)); !last || err != nil {
			w.t.Fatalf("the last release: %v, %v", last, err)
		}
		eventually(w.t, worldGrace+worldLate, "unpinned", func() bool { _, s := a.lookup(doc); return s == Free })
		if d := time.Since(start); d < worldGrace {
			w.t.Fatalf("unpinned %s after the last session", d)
		}
	})
}

func TestReconnectWithinTheGracePeriodKeepsTheEpochOnAnyNodeOfTheRegion(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		first := a.hold(doc)
		left := time.Now()
		release(w.t, first)
		time.Sleep(worldGrace * 3 / 4)
		second := b.hold(doc)
		if time.Since(left) > worldGrace {
			w.t.Logf("the machine is too busy to come back in time: %s", time.Since(left))
			return
		}
		if second.Pin().Epoch != first.Pin().Epoch {
			w.t.Fatal("the reconnect met another epoch")
		}
		time.Sleep(worldGrace + worldLate)
		if p, s := a.lookup(doc); s != Live || p.Epoch != first.Pin().Epoch {
			w.t.Fatalf("the grace period ran on under a session: %s", s)
		}
	})
}

func TestPinStaysWhileOneNodeOfTheRegionHoldsIt(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		ha, hb := a.hold(doc), b.hold(doc)
		if ha.Pin().Epoch != hb.Pin().Epoch {
			w.t.Fatal("two nodes of the region have two epochs")
		}
		if release(w.t, ha) {
			w.t.Fatal("the first of two was the last")
		}
		if p, s := a.lookup(doc); s != Live || len(p.Holders) != 1 || p.Holders[0].Node != "b" {
			w.t.Fatalf("after the first left: %s, %+v", s, p)
		}
		if !release(w.t, hb) {
			w.t.Fatal("the second of two was not the last")
		}
		if _, s := a.lookup(doc); s != Grace {
			w.t.Fatalf("after both left: %s", s)
		}
	})
}

func TestDocumentOfADeadNodeIsUsableInItsRegionAtOnceAndElsewhereAfterTheLease(t *testing.T) {
	worlds(t, func(w *world) {
		a, b, c := w.node("eu-central-1", "a"), w.node("eu-central-1", "b"), w.node("us-east-1", "c")
		here, there := testDoc("here"), testDoc("there")
		first, second := a.hold(here), a.hold(there)
		time.Sleep(worldLeaseTTL) // c must have had its lease that long
		a.kill()
		died := time.Now()
		if again := b.hold(here); again.Pin().Epoch != first.Pin().Epoch {
			w.t.Fatal("another node of the region met another epoch")
		}
		var pinned *PinnedError
		if _, err := c.Hold(context.Background(), there); !errors.As(err, &pinned) {
			w.t.Fatalf("another region at once: %v", err)
		}
		var taken *Hold
		eventually(w.t, worldLeaseTTL+worldLate, "taken over by another region", func() bool {
			h, err := c.Hold(context.Background(), there)
			if err != nil && !errors.As(err, &pinned) {
				w.t.Fatal(err)
			}
			taken = h
			return err == nil
		})
		if taken.Pin().Epoch == second.Pin().Epoch || taken.Pin().Region != "us-east-1" {
			w.t.Fatalf("taken over as %+v", taken.Pin())
		}
		if d := time.Since(died); d < worldLeaseTTL*2/3 {
			w.t.Fatalf("taken over %s after the death: the lease was current", d)
		}
		if _, err := c.Hold(context.Background(), here); !errors.As(err, &pinned) {
			w.t.Fatalf("a document with a living holder was taken over: %v", err)
		}
	})
}

func TestDeadHolderDoesNotKeepThePinWhenTheLastLivingOneLeaves(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		a.hold(doc)
		h := b.hold(doc)
		a.kill()
		time.Sleep(worldLeaseTTL + worldLate)
		if !release(w.t, h) {
			w.t.Fatal("the last living holder was not the last")
		}
		if _, s := b.lookup(doc); s != Grace {
			w.t.Fatalf("after the release: %s", s)
		}
	})
}

func TestRegionUnpinsWhatADeadNodeLeft(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		c := w.node("us-east-1", "c")
		orphan, held, foreign := testDoc("orphan"), testDoc("held"), testDoc("foreign")
		a.hold(orphan)
		a.hold(held)
		b.hold(held)
		c.hold(foreign)
		a.kill()
		eventually(w.t, worldLeaseTTL+2*worldLeaseTTL+worldGrace+2*worldLate, "unpinned", func() bool {
			_, s := b.lookup(orphan)
			return s == Free
		})
		if _, s := b.lookup(held); s != Live {
			w.t.Fatalf("a held document was swept: %s", s)
		}
		if _, s := b.lookup(foreign); s != Live {
			w.t.Fatalf("another region's document was swept: %s", s)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.unpinned) != 1 || b.unpinned[0] != orphan {
			w.t.Fatalf("told of %v", b.unpinned)
		}
	})
}

func TestNodeThatLeavesInOrderLeavesNothing(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		release(w.t, a.hold(testDoc("x")))
		lease, _, ok := a.Lease(testLicense)
		if !ok {
			w.t.Fatal("no lease")
		}
		if current, err := b.LeaseCurrent(context.Background(), testLicense, "a", lease); !current || err != nil {
			w.t.Fatalf("before leaving: %v, %v", current, err)
		}
		a.leave()
		eventually(w.t, worldLate, "the lease is gone for others", func() bool {
			current, err := b.LeaseCurrent(context.Background(), testLicense, "a", lease)
			return !current && err == nil
		})
	})
}

func TestKeysAreSharedByTheNodesOfARegistry(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a").Keys(testLicense), w.node("us-east-1", "b").Keys(testLicense)
		ctx, cancel := context.WithCancel(context.Background())
		seen := make(chan Entry, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.Watch(ctx, "limit.", func(e Entry) { seen <- e })
		}()
		defer func() { cancel(); <-done }()
		first, err := a.Create(ctx, "limit.acme.notes.c", []byte("1"), 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if e := <-seen; string(e.Value) != "1" || e.Revision != first {
			w.t.Fatalf("watched %+v", e)
		}
		if _, err := b.Create(ctx, "limit.acme.notes.c", nil, 0); !errors.Is(err, ErrConflict) {
			w.t.Fatalf("created twice: %v", err)
		}
		second, err := b.Update(ctx, "limit.acme.notes.c", []byte("2"), first, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := a.Update(ctx, "limit.acme.notes.c", []byte("3"), first, 0); !errors.Is(err, ErrConflict) {
			w.t.Fatalf("updated from an old revision: %v", err)
		}
		if e, err := a.Get(ctx, "limit.acme.notes.c"); err != nil || string(e.Value) != "2" {
			w.t.Fatalf("read %+v, %v", e, err)
		}
		if err := a.Delete(ctx, "limit.acme.notes.c", second); err != nil {
			w.t.Fatal(err)
		}
		if e, err := b.Get(ctx, "limit.acme.notes.c"); err != nil || !e.Deleted {
			w.t.Fatalf("read after the deletion: %+v, %v", e, err)
		}
		if _, err := a.Update(ctx, "pin.acme.notes.x", nil, 0, 0); err == nil {
			w.t.Fatal("wrote a key of the registry's own")
		}
	})
}

func TestRegionsSayWhoIsLiveDrainingAndDown(t *testing.T) {
	worlds(t, func(w *world) {
		a, b, c := w.node("eu-central-1", "a"), w.node("us-east-1", "b"), w.node("us-west-2", "c")
		statuses := func() map[docid.Region]RegionStatus {
			infos, err := a.Regions(context.Background())
			if err != nil {
				w.t.Fatal(err)
			}
			m := make(map[docid.Region]RegionStatus)
			for _, i := range infos {
				if i.URL != "wss://"+string(i.Region)+".example" {
					w.t.Fatalf("URL %q", i.URL)
				}
				m[i.Region] = i.Status
			}
			return m
		}
		if s := statuses(); len(s) != 3 || s["eu-central-1"] != RegionLive || s["us-east-1"] != RegionLive || s["us-west-2"] != RegionLive {
			w.t.Fatalf("at first: %v", s)
		}
		b.Drain()
		c.kill()
		eventually(w.t, worldLeaseTTL+surveyLife+worldLate, "draining and down", func() bool {
			s := statuses()
			return s["eu-central-1"] == RegionLive && s["us-east-1"] == RegionDraining && s["us-west-2"] == RegionDown
		})
	})
}
