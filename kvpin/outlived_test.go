package kvpin

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// revive puts keys back as a server does that was killed before it had synced, with
// their values as strip leaves them.
func (w *world) revive(keys map[string]kv.Entry, strip func([]byte) []byte) {
	back := make(map[string]kv.Entry)
	for key, e := range keys {
		e.Value = strip(e.Value)
		back[key] = e
	}
	w.bucket.Revive(back)
}

// asWritten keeps a record as this version wrote it.
func asWritten(b []byte) []byte { return b }

// withoutTTL makes it one of an earlier version.
func withoutTTL(b []byte) []byte {
	begin := bytes.Index(b, []byte(`,"ttl":`))
	if begin < 0 {
		return b
	}
	end := begin + 1 + bytes.IndexAny(b[begin+1:], ",}")
	return slices.Concat(b[:begin], b[end:])
}

// expiring are the keys of a bucket that expire.
func expiring(keys map[string]kv.Entry) map[string]kv.Entry {
	found := make(map[string]kv.Entry)
	for key, e := range keys {
		if e.Present && !strings.HasPrefix(key, regionPrefix) {
			found[key] = e
		}
	}
	return found
}

func TestKeysThatComeBackAfterTheirExpiryCountAsGoneAndAreSwept(t *testing.T) {
	for name, strip := range map[string]func([]byte) []byte{"this version's": asWritten, "an earlier version's": withoutTTL} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				w.change = append(w.change, func(c *Config) { c.SweepAfter = 30 * time.Second })
				left, claimed, orphan := testDoc("left"), testDoc("claimed"), testDoc("orphan")
				gone := w.node("ap-south-1", "gone")
				release(w.t, gone.hold(left))
				release(w.t, gone.hold(claimed))
				gone.hold(orphan)
				keys, _ := w.bucket.Snapshot()
				keys = expiring(keys)
				keys[sweepPrefix+"eu-central-1"] = kv.Entry{Key: sweepPrefix + "eu-central-1", Value: []byte("dead"), Revision: 1, Present: true, Written: time.Now()}
				gone.kill()
				a := w.node("eu-central-1", "a")
				time.Sleep(worldGrace + worldLeaseTTL + lateExpiry)
				w.revive(keys, strip)

				for _, doc := range []docid.Document{left, claimed} {
					if p, s := a.lookup(doc); s != Free || p.Region != "" {
						w.t.Fatalf("%s is %s in %q, expected it to be free", doc, s, p.Region)
					}
				}
				if _, s := a.lookup(orphan); s != Orphaned {
					w.t.Fatalf("what the dead node held is %s: its lease came back, too", s)
				}
				for _, doc := range []docid.Document{claimed, orphan} {
					if p := a.hold(doc).Pin(); p.Region != "eu-central-1" {
						w.t.Fatalf("%s was claimed in %s", doc, p.Region)
					}
				}
				if current, err := a.LeaseCurrent(context.Background(), testLicense, "gone", leaseID(w.t, keys[leaseKey("ap-south-1", "gone")])); current || err != nil {
					w.t.Fatalf("the dead node's lease is current: %v", err)
				}
				infos, err := a.Regions(context.Background())
				if err != nil || infos[0].Region != "ap-south-1" || infos[0].Status != RegionDown {
					w.t.Fatalf("regions: %+v, %v", infos, err)
				}
				time.Sleep(time.Hour) // until the latest sweep; what an inspector assumes of earlier versions
				for key := range keys {
					if e := w.bucket.Get(key); e.Present && e.Written.Before(time.Now().Add(-time.Hour)) {
						w.t.Errorf("%s is still there", key)
					}
				}
			})
		})
	}
}

func leaseID(t testing.TB, e kv.Entry) LeaseID {
	l, err := decodeLease(e)
	if err != nil {
		t.Fatal(err)
	}
	return l.Lease
}

func TestInspectorTellsKeysThatCameBackFromThoseThatCount(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		gone := w.node("ap-south-1", "gone")
		release(w.t, gone.hold(testDoc("left")))
		keys, _ := w.bucket.Snapshot()
		gone.kill()
		time.Sleep(worldGrace + worldLeaseTTL + lateExpiry)
		w.revive(expiring(keys), asWritten)
		ctx := context.Background()
		i := &Inspector{stores: map[docid.LicenseRegion]kv.Store{testLicense: w.bucket.Link()}}
		found, err := i.Outlived(ctx, testLicense)
		if err != nil || !slices.Equal(found.Pins, []docid.Document{testDoc("left")}) || !slices.Equal(found.Leases, []docid.NodeID{"gone"}) {
			w.t.Errorf("found %+v, %v", found, err)
		}
		for info, err := range i.Pins(ctx, testLicense, PinFilter{}) {
			w.t.Errorf("a pin is listed: %+v, %v", info, err)
		}
		if info, err := i.Pin(ctx, testDoc("left")); err != nil || info.State != Free || info.Pin.Revision == 0 {
			w.t.Errorf("the pin is %+v, %v; expected a free one with its revision", info, err)
		}
		if leases, err := i.Leases(ctx, testLicense); err != nil || len(leases) > 0 {
			w.t.Errorf("leases: %+v, %v", leases, err)
		}
		if infos, err := i.Regions(ctx, testLicense); err != nil || infos[0].Status != RegionDown {
			w.t.Errorf("regions: %+v, %v", infos, err)
		}
	})
}

// A pin that came back must not hand a live document over to a life that has ended.
func TestPinThatCameBackUnderALiveDocumentIsWrittenOver(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		gone, a := w.node("ap-south-1", "gone"), w.node("eu-central-1", "a")
		doc := testDoc("x")
		release(w.t, gone.hold(doc))
		keys, _ := w.bucket.Snapshot()
		time.Sleep(worldGrace + lateExpiry + 5*time.Second) // nodes learn the time from the last news, which may have taken a while
		h := a.hold(doc)
		pin := doc.PinKey()
		w.revive(map[string]kv.Entry{pin: keys[pin]}, asWritten)
		a.buckets[testLicense].docs.lookAgain(doc)
		eventually(w.t, 5*time.Second, "pinned again", func() bool { p, ok := w.pin(doc); return ok && p.Region == "eu-central-1" })
		_, moved := a.heard(a.moved, doc)
		if p, _ := w.pin(doc); p.Epoch != h.Pin().Epoch || moved {
			w.t.Errorf("pinned as %+v, moved: %v", p, moved)
		}
	})
}

// The life of a document that ended while its node had no lease is not merged into
// the next one. A node whose lease was unbroken follows; so does one that finds an
// earlier life, since the registry has gone back in time.
func TestALifeThatEndedWithoutItsNodeIsOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		out   time.Duration // how long the node is cut off
		later bool          // the other life began later
		over  bool
	}{
		{"the lease ran out, and another life began", 2 * worldLeaseTTL, true, true},
		{"the lease is unbroken", 0, true, false},
		{"the registry has an earlier life", 2 * worldLeaseTTL, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
				doc := testDoc("x")
				former := b.hold(doc)
				earlier, _ := w.pin(doc)
				release(w.t, former)
				time.Sleep(worldGrace + time.Second)
				h := a.hold(doc)
				if c.out > 0 {
					a.link.Sever()
				}
				time.Sleep(c.out)
				e := w.bucket.Get(doc.PinKey())
				next := Pin{Region: "eu-central-1", Epoch: "next", Since: time.Now(), Holders: earlier.Holders}
				if !c.later {
					next.Since = earlier.Since
				}
				if _, err := w.bucket.Put(doc.PinKey(), next.encode(time.Hour), e.Revision, time.Hour); err != nil {
					w.t.Fatal(err)
				}
				if c.out > 0 {
					a.link.Heal()
				} else {
					a.buckets[testLicense].docs.lookAgain(doc)
				}
				told := a.rebased
				if c.over {
					told = a.ended
				}
				eventually(w.t, 30*time.Second, "told", func() bool { p, ok := a.heard(told, doc); return ok && p.Epoch == "next" })
				_, ended := a.heard(a.ended, doc)
				_, rebased := a.heard(a.rebased, doc)
				if ended != c.over || rebased == c.over {
					w.t.Errorf("ended: %v, rebased: %v", ended, rebased)
				}
				if over := h.ctx.Err() != nil; over != c.over {
					w.t.Errorf("the hold is over: %v", over)
				}
			})
		})
	}
}

// silence is what the region's nodes say of a document.
type silence struct {
	alive bool
	err   error

	mu    sync.Mutex
	asked int
}

func (s *silence) ask(context.Context, docid.Document, Epoch) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.alive, s.err
}

// dies has nobody answer for the document any more.
func (s *silence) dies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive, s.err = false, nil
}

func (s *silence) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func TestRegionIsAskedBeforeItsOrphansAreUnpinned(t *testing.T) {
	for _, c := range []struct {
		name  string
		alive bool
		err   error
		stays bool
	}{
		{"it is open without the registry", true, nil, true},
		{"nobody has it", false, nil, false},
		{"its node is silent", false, ErrSilent, false},
		{"nobody can be asked", false, errors.New("no connection"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				says := &silence{alive: c.alive, err: c.err}
				a := w.node("eu-central-1", "a")
				b := w.node("eu-central-1", "b", func(cfg *Config) { cfg.Alive = says.ask })
				one, other := testDoc("one"), testDoc("other")
				a.hold(one)
				a.hold(other)
				a.link.Sever()
				time.Sleep(4 * worldLeaseTTL)
				if says.times() == 0 {
					w.t.Fatal("the region was not asked")
				}
				for _, doc := range []docid.Document{one, other} {
					p, ok := w.pin(doc)
					if stays := ok && p.lists("a"); stays != c.stays {
						w.t.Fatalf("%s is pinned: %v, as %+v", doc, ok, p)
					}
				}
				if n := says.times(); c.err == ErrSilent && n != aliveTries {
					w.t.Errorf("a silent node was asked %d times, expected %d", n, aliveTries)
				}
				says.dies() // now it is dead, and no lease tells
				eventually(w.t, 2*time.Minute, "unpinned", func() bool { _, s := b.lookup(one); return s == Free })
			})
		})
	}
}

func TestLastLivingHolderLeavesThePinToOneThatLivesOnWithoutTheRegistry(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		says := &silence{alive: true}
		a := w.node("eu-central-1", "a")
		b := w.node("eu-central-1", "b", func(cfg *Config) { cfg.Alive = says.ask })
		doc := testDoc("x")
		a.hold(doc)
		h := b.hold(doc)
		a.link.Sever()
		time.Sleep(2 * worldLeaseTTL)
		if last := release(w.t, h); last {
			w.t.Error("it was told that it was the last")
		}
		time.Sleep(2 * worldGrace)
		if p, ok := w.pin(doc); !ok || !p.lists("a") || p.lists("b") {
			w.t.Errorf("pinned: %v, as %+v", ok, p)
		}
	})
}

func TestNodesOfARegionThatDoNotBelongTogetherAreKnown(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		on := func(cluster string) func(*Config) {
			return func(c *Config) { c.About = func() About { return About{Cluster: cluster, Protocol: 1} } }
		}
		a, b := w.node("eu-central-1", "a", on("eu")), w.node("eu-central-1", "b", on("eu"))
		w.node("eu-central-1", "old") // says nothing
		w.node("us-east-1", "far", on("us"))
		time.Sleep(time.Second)
		c := w.node("eu-central-1", "c", on("us"))
		time.Sleep(2 * worldLeaseTTL)
		for _, n := range []*testNode{a, b} {
			if s := n.Strangers(); len(s) != 1 || s[0].Node != "c" || s[0].Earlier || !strings.Contains(s[0].Why, "eu") {
				w.t.Errorf("node %s knows the strangers %+v", n.cfg.Node, s)
			}
		}
		s := c.Strangers()
		if len(s) != 2 || s[0].Node != "a" || s[1].Node != "b" || !s[0].Earlier || !s[1].Earlier {
			w.t.Errorf("node c knows the strangers %+v", s)
		}
		i := &Inspector{stores: map[docid.LicenseRegion]kv.Store{testLicense: w.bucket.Link()}}
		leases, err := i.Leases(context.Background(), testLicense)
		if err != nil || leases[0].Cluster != "eu" || leases[2].Cluster != "us" {
			w.t.Errorf("leases: %+v, %v", leases, err)
		}
		c.kill()
		time.Sleep(2 * worldLeaseTTL)
		if s := a.Strangers(); len(s) > 0 {
			w.t.Errorf("strangers who are gone: %+v", s)
		}
	})
}

func TestLeasesOfLaterVersionsAreRead(t *testing.T) {
	l, err := decodeLease(kv.Entry{Value: []byte(`{"region":"eu-central-1","lease":"eu-central-1/x","cluster":"eu","can":["move","fly"],"later":{"a":[1]}}`)})
	if err != nil || !l.covers("eu-central-1/x") || l.Cluster != "eu" || !slices.Equal(l.Can, []string{"move", "fly"}) {
		t.Errorf("read as %+v, %v", l, err)
	}
}

// With the default times another region may take a dead node's document when its
// lease has run out, at the latest a second later: a lease that was
// found current is taken for current for so long.
func TestDeadNodesDocumentIsFreeWithinElevenAndAHalfSeconds(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		w.change = append(w.change, func(c *Config) {
			c.LeaseTTL, c.RenewEvery, c.SweepAfter, c.Grace = 10*time.Second, 3*time.Second, 30*time.Second, 10*time.Second
		})
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		a.hold(doc)
		time.Sleep(time.Minute)
		a.kill()
		took := eventually(w.t, 20*time.Second, "taken", func() bool { _, err := b.Hold(context.Background(), doc); return err == nil })
		if took > 11500*time.Millisecond {
			w.t.Errorf("it took %s", took)
		}
	})
}
