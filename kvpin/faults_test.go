package kvpin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

// What happens when writes get no answer, leases are lost and buckets vanish. In
// virtual time, on the fake.

var uncertain = map[string]kvtest.Outcome{"lost": kvtest.Lost, "reply lost": kvtest.ReplyLost, "late": kvtest.Late}

func TestClaimWithoutAnAnswerIsUndone(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
				doc := testDoc("x")
				a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
				if _, err := a.Hold(context.Background(), doc); !errors.Is(err, ErrUnavailable) {
					w.t.Fatalf("claim: %v", err)
				}
				time.Sleep(30 * time.Second)
				if p, ok := w.pin(doc); ok {
					w.t.Fatalf("still pinned: %+v", p)
				}
				b.hold(doc)
				eventually(w.t, 2*unsettledLife, "nothing owed", func() bool { return a.Stats(testLicense).Owed == 0 })
				if _, s := a.lookup(doc); s != Live {
					w.t.Fatalf("the other region's pin: %s", s)
				}
			})
		})
	}
}

func TestClaimWithoutAnAnswerInTheGracePeriodLeavesTheRestOfIt(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		h := a.hold(doc)
		start := time.Now()
		release(w.t, h)
		b.link.Once(kvtest.Fault{Outcome: kvtest.ReplyLost}, true, "pin.")
		if _, err := b.Hold(context.Background(), doc); !errors.Is(err, ErrUnavailable) {
			w.t.Fatalf("claim: %v", err)
		}
		eventually(w.t, worldGrace+worldLate, "unpinned", func() bool { _, ok := w.pin(doc); return !ok })
		if d := time.Since(start); d < worldGrace {
			w.t.Fatalf("unpinned %s after the last session", d)
		}
	})
}

func TestClaimThatLandsMinutesLaterIsUndone(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		a.link.Once(kvtest.Fault{Outcome: kvtest.Late, LateBy: 5 * time.Minute}, true, "pin.")
		if _, err := a.Hold(context.Background(), doc); !errors.Is(err, ErrUnavailable) {
			w.t.Fatalf("claim: %v", err)
		}
		release(w.t, b.hold(doc)) // leaves no trace after the life of its marker
		eventually(w.t, 6*time.Minute, "the write has landed", func() bool { p, ok := w.pin(doc); return ok && p.Region == "eu-central-1" })
		eventually(w.t, 2*time.Minute, "it is undone", func() bool { _, ok := w.pin(doc); return !ok })
	})
}

func TestHoldAfterAClaimWithoutAnAnswerSucceeds(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a := w.node("eu-central-1", "a")
				doc := testDoc("x")
				a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
				if _, err := a.Hold(context.Background(), doc); !errors.Is(err, ErrUnavailable) {
					w.t.Fatalf("claim: %v", err)
				}
				h := a.hold(doc)
				time.Sleep(time.Minute)
				if p, ok := w.pin(doc); !ok || p.Epoch != h.Pin().Epoch || len(p.Holders) != 1 {
					w.t.Fatalf("a minute later: %v %+v", ok, p)
				}
				release(w.t, h)
				time.Sleep(worldGrace + time.Millisecond)
				if p, ok := w.pin(doc); ok {
					w.t.Fatalf("still pinned: %+v", p)
				}
			})
		})
	}
}

func TestReleaseWithoutAnAnswerIsOwedAndPaid(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a := w.node("eu-central-1", "a")
				doc := testDoc("x")
				h := a.hold(doc)
				a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
				if _, err := h.Release(context.Background(), time.Now()); !errors.Is(err, ErrUnsettled) {
					w.t.Fatalf("release: %v", err)
				}
				time.Sleep(worldGrace + 5*time.Second)
				if p, ok := w.pin(doc); ok {
					w.t.Fatalf("still pinned: %+v", p)
				}
				if !slices.Contains(a.unpinned, doc) {
					w.t.Error("nobody was told that the document is unpinned")
				}
			})
		})
	}
}

func TestReleaseThatLandsLateDoesNotUnpinTheNextSession(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a := w.node("eu-central-1", "a")
				doc := testDoc("x")
				first := a.hold(doc)
				a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
				if _, err := first.Release(context.Background(), time.Now()); !errors.Is(err, ErrUnsettled) {
					w.t.Fatalf("release: %v", err)
				}
				second := a.hold(doc)
				time.Sleep(10 * time.Minute)
				if p, ok := w.pin(doc); !ok || p.Epoch != second.Pin().Epoch || !p.lists("a") {
					w.t.Fatalf("ten minutes later: %v %+v", ok, p)
				}
			})
		})
	}
}

func TestLeaseRenewalWithoutAnAnswerKeepsTheLease(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a := w.node("eu-central-1", "a", func(c *Config) { c.Timeout = 500 * time.Millisecond })
				before, _, _ := a.Lease(testLicense)
				a.link.Once(kvtest.Fault{Outcome: o}, true, leasePrefix)
				time.Sleep(20 * time.Second)
				if after, _, ok := a.Lease(testLicense); !ok || after != before {
					w.t.Fatalf("lease %q became %q, %v", before, after, ok)
				}
			})
		})
	}
}

func TestOutageOfTheRegistryMovesNoLiveDocument(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		var said bytes.Buffer
		a, b := w.node("eu-central-1", "a", func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) }), w.node("us-east-1", "b")
		if said.Len() > 0 {
			w.t.Fatalf("an undisturbed start said: %s", said.String())
		}
		const documents = 2000
		holds := make([]*Hold, documents)
		for i := range holds {
			holds[i] = a.hold(numbered(i))
		}
		before, _, _ := a.Lease(testLicense)
		for _, n := range []*testNode{a, b} {
			n.link.Sever()
		}
		time.Sleep(30 * time.Second)
		for _, n := range []*testNode{a, b} {
			if n.Reachable(testLicense) {
				w.t.Fatal("a lease outlived the outage")
			}
		}
		start := time.Now()
		if _, _, err := b.Lookup(context.Background(), numbered(0)); !errors.Is(err, ErrUnavailable) {
			w.t.Fatalf("lookup in the outage: %v", err)
		}
		if time.Since(start) > 4*time.Second {
			w.t.Fatalf("the lookup took %s", time.Since(start))
		}
		b.link.Heal() // the other region reconnects first
		thief := b
		deadline := time.Now().Add(worldLeaseTTL - 500*time.Millisecond)
		for i := 0; time.Now().Before(deadline); i++ {
			var pinned *PinnedError
			if _, err := thief.Hold(context.Background(), numbered(i%documents)); err == nil {
				w.t.Fatal("the first stranger took a live document")
			} else if !errors.As(err, &pinned) && !errors.Is(err, ErrUnavailable) {
				w.t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		// The holder's validation is slow: its documents are alive all the same.
		a.link.SetFault(func(_ bool, key string) kvtest.Fault {
			if strings.HasPrefix(key, "pin.") {
				return kvtest.Fault{Delay: 500 * time.Millisecond}
			}
			return kvtest.Fault{}
		})
		a.link.Heal()
		for i := range 5000 {
			var pinned *PinnedError
			if _, err := thief.Hold(context.Background(), numbered(i%documents)); !errors.As(err, &pinned) {
				w.t.Fatalf("a stranger's hold after the outage: %v", err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		eventually(w.t, time.Minute, "all gone through", func() bool { return a.Stats(testLicense).Validating == 0 })
		time.Sleep(2 * worldLeaseTTL)
		after, _, _ := a.Lease(testLicense)
		if after == before {
			w.t.Fatal("a lost lease came back")
		}
		for i, h := range holds {
			p, ok := w.pin(numbered(i))
			if !ok || p.Epoch != h.Pin().Epoch || !p.has(Holder{"a", after}) {
				w.t.Fatalf("document %d: %v, %+v", i, ok, p)
			}
		}
		if len(a.moved)+len(a.restored)+len(a.rebased) > 0 {
			w.t.Fatal("a room was told of something")
		}
		if _, back, ok := strings.Cut(said.String(), "lost the lease"); !ok || strings.Count(back, "level=INFO msg=\"the registry answers, took a new lease\"") != 1 {
			w.t.Fatalf("of the outage the log says: %s", said.String())
		}
	})
}

func numbered(i int) docid.Document { return testDoc("n" + strconv.Itoa(i)) }

func TestDocumentThatWasTakenMeanwhileIsHandedOver(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc, other := testDoc("x"), testDoc("y")
		first := a.hold(doc)
		kept := a.hold(other)
		time.Sleep(worldLeaseTTL)
		a.link.Sever()
		time.Sleep(worldLeaseTTL + time.Second)
		taken := b.hold(doc)
		a.link.Heal()
		eventually(w.t, 10*time.Second, "told that it moved", func() bool { _, ok := a.heard(a.moved, doc); return ok })
		if p, _ := a.heard(a.moved, doc); p.Region != "us-east-1" || p.Epoch != taken.Pin().Epoch {
			w.t.Fatalf("moved to %+v", p)
		}
		if last, err := first.Release(context.Background(), time.Now()); last || err != nil {
			w.t.Fatalf("release of what has moved: %v, %v", last, err)
		}
		if p, ok := w.pin(doc); !ok || p.Region != "us-east-1" || !p.lists("b") {
			w.t.Fatalf("after the release: %v, %+v", ok, p)
		}
		time.Sleep(10 * time.Second)
		if p, ok := w.pin(other); !ok || p.Epoch != kept.Pin().Epoch || !p.lists("a") {
			w.t.Fatalf("what nobody took: %v, %+v", ok, p)
		}
	})
}

func TestPinsThatWereDeletedOrRestoredFromAnOldCopyComeBack(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		for range 1000 { // a new bucket must not come to the same revisions by chance
			release(w.t, a.hold(testDoc("busy")))
		}
		time.Sleep(2 * worldLeaseTTL)
		old, epoch := testDoc("old"), testDoc("fresh")
		release(w.t, a.hold(old)) // another life, which the copy has
		formerKeys, formerLast := w.bucket.Snapshot()
		time.Sleep(worldGrace + time.Second)
		h1, h2 := a.hold(old), a.hold(epoch)
		b.hold(old)

		w.restore(nil, 0)
		eventually(w.t, 10*time.Second, "back after the deletion", func() bool {
			p1, ok1 := w.pin(old)
			p2, ok2 := w.pin(epoch)
			return ok1 && ok2 && p1.Epoch == h1.Pin().Epoch && p2.Epoch == h2.Pin().Epoch && p1.lists("a") && p1.lists("b")
		})
		if _, ok := a.heard(a.restored, epoch); !ok {
			w.t.Fatal("the room was not told to append a snapshot")
		}
		if url, err := a.RegionURL(context.Background(), "eu-central-1"); err != nil || url == "" {
			w.t.Fatalf("URL of the region: %v", err)
		}

		w.restore(formerKeys, formerLast)
		eventually(w.t, 20*time.Second, "back after the restore", func() bool {
			p1, ok1 := w.pin(old)
			p2, ok2 := w.pin(epoch)
			return ok1 && ok2 && p2.Epoch == h2.Pin().Epoch && p1.lists("a") && p1.lists("b") &&
				p1.Epoch == h1.Pin().Epoch
		})
		if _, ok := a.heard(a.rebased, old); !ok {
			w.t.Fatal("the room was not told of the epoch of the copy")
		}
	})
}

func TestRoomThatCannotFollowIsToldAgain(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a := w.node("eu-central-1", "a")
		doc := testDoc("x")
		a.hold(doc)
		a.failures = 3
		w.restore(nil, 0)
		eventually(w.t, 20*time.Second, "told again until it worked", func() bool { _, ok := a.heard(a.restored, doc); return ok })
	})
}

func TestUnpinnedByAnOperatorUnderALiveSessionComesBack(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a := w.node("eu-central-1", "a.with.dots")
		doc := testDoc("x")
		h := a.hold(doc)
		i := &Inspector{stores: map[docid.LicenseRegion]kv.Store{testLicense: w.bucket.Link()}}
		if err := i.Unpin(context.Background(), doc, h.Pin().Revision+1); !errors.Is(err, ErrConflict) {
			w.t.Fatalf("at another revision: %v", err)
		}
		if err := i.Unpin(context.Background(), doc, h.Pin().Revision); err != nil {
			w.t.Fatal(err)
		}
		eventually(w.t, 3*time.Second, "pinned again", func() bool { p, ok := w.pin(doc); return ok && p.Epoch == h.Pin().Epoch })
	})
}

func TestAdoptedDocumentIsEnteredWhenTheRegistryIsBack(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc, brief := testDoc("x"), testDoc("brief")
		epoch, brevity := a.hold(doc).Pin().Epoch, a.hold(brief).Pin().Epoch
		b.link.Sever()
		if _, err := b.Hold(context.Background(), doc); !errors.Is(err, ErrUnavailable) {
			w.t.Fatalf("hold without the registry: %v", err)
		}
		h, err := b.Adopt(doc, epoch)
		if err != nil {
			w.t.Fatal(err)
		}
		short, err := b.Adopt(brief, brevity)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := short.Release(context.Background(), time.Now()); !errors.Is(err, ErrUnavailable) {
			w.t.Fatalf("release without the registry: %v", err)
		}
		time.Sleep(20 * time.Second)
		b.link.Heal()
		eventually(w.t, 10*time.Second, "both are in", func() bool { p, _ := w.pin(doc); return p.lists("a") && p.lists("b") })
		if h.Pin().Epoch != epoch {
			w.t.Fatal("the adopted hold has another epoch")
		}
		eventually(w.t, 10*time.Second, "nothing owed", func() bool { return b.Stats(testLicense).Owed == 0 })
		if p, ok := w.pin(brief); !ok || p.lists("b") {
			w.t.Fatalf("what was released before: %v %+v", ok, p)
		}
	})
}

func TestSecondProcessWithTheSameNodeIDStopsTheFirst(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		first := w.node("eu-central-1", "a")
		second := w.node("eu-central-1", "a")
		time.Sleep(2 * worldLeaseTTL)
		if first.Reachable(testLicense) || !second.Reachable(testLicense) {
			w.t.Fatalf("first: %v, second: %v", first.Reachable(testLicense), second.Reachable(testLicense))
		}
		lease, _, _ := second.Lease(testLicense)
		time.Sleep(time.Minute)
		if later, _, _ := second.Lease(testLicense); later != lease {
			w.t.Fatal("the two take turns")
		}
	})
}

func TestPinOfALongSessionOutlivesTheBackstopAtOneWriteInHalfOfIt(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		w.change = append(w.change, func(c *Config) { c.LeaseTTL, c.RenewEvery = 10*time.Minute, 5*time.Minute })
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		h := a.hold(doc)
		b.hold(doc)
		before := w.bucket.Written("pin")
		time.Sleep(48 * time.Hour)
		if p, ok := w.pin(doc); !ok || p.Epoch != h.Pin().Epoch {
			w.t.Fatalf("after two days: %v %+v", ok, p)
		}
		if n := w.bucket.Written("pin") - before; n < 12 || n > 48 {
			w.t.Fatalf("%d writes in 48 hours", n)
		}
	})
}

func TestHeldDocumentsCostOnlyTheLease(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a := w.node("eu-central-1", "a", func(c *Config) { c.LeaseTTL, c.RenewEvery = 10*time.Second, 3*time.Second })
		for i := range 10_000 {
			a.hold(numbered(i))
		}
		pins, leases := w.bucket.Written("pin"), w.bucket.Written("lease")
		time.Sleep(60 * time.Second)
		if n := w.bucket.Written("pin") - pins; n != 0 {
			w.t.Fatalf("%d writes of pins in 60 s", n)
		}
		if n := w.bucket.Written("lease") - leases; n > 22 {
			w.t.Fatalf("%d writes of leases in 60 s", n)
		}
	})
}
