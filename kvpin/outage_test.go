package kvpin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/test/natstest"
)

// Outages of real registries: cut links, restarted servers, deleted and restored
// buckets. Leases are short, to wait less; the outages are longer than they.

func shortLeases(c *Config) {
	c.Grace, c.LeaseTTL, c.RenewEvery = 3*time.Second, 5*time.Second, time.Second
	c.Timeout, c.Deadline = 2*time.Second, 3*time.Second
}

// settled waits until the node owes nothing and has gone through its pins.
func (n *testNode) settled() {
	n.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		s := n.Stats(testLicense)
		if s.Reachable && s.Owed == 0 && s.Validating == 0 {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("node %s has not settled: %+v, %v", n.cfg.Node, s, n.buckets[testLicense].lease.lastError())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRegionThatIsCutOffGoesOnAndIsConsistentOnceItIsBack(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*natstest.Proxy){"drops": (*natstest.Proxy).Cut, "loses replies": (*natstest.Proxy).CutReplies, "refuses": (*natstest.Proxy).Refuse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Server(t)
			proxy := natstest.NewProxy(t, server.URL)
			w := &world{t: t, server: server, url: server.URL, change: []func(*Config){shortLeases}}
			t.Cleanup(w.close)
			there := w.node("us-east-1", "b")
			w.url = proxy.URL
			here, neighbour := w.node("eu-central-1", "a"), w.node("eu-central-1", "c")
			var kept []*Hold
			for i := range 200 {
				kept = append(kept, here.hold(numbered(i)))
			}
			taken := here.hold(testDoc("taken"))
			left := here.hold(testDoc("left"))
			time.Sleep(4 * time.Second)

			cut(proxy)
			background := context.Background()
			if _, err := left.Release(background, time.Now()); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("release in the outage: %v", err)
			}
			for _, ask := range []func() error{
				func() error { _, _, err := here.Lookup(background, numbered(0)); return err },
				func() error { _, err := here.Hold(background, testDoc("new")); return err },
			} {
				if err := ask(); !errors.Is(err, ErrUnavailable) { // within the deadline: the context has none
					t.Fatalf("asked in the outage: %v", err)
				}
			}
			adopted, err := neighbour.Adopt(numbered(0), kept[0].Pin().Epoch)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(7 * time.Second) // longer than a lease
			var moved *Hold
			eventually(t, 20*time.Second, "taken over", func() bool {
				var err error
				moved, err = there.Hold(background, testDoc("taken"))
				return err == nil
			})

			proxy.Heal()
			here.settled()
			neighbour.settled()
			if p, ok := here.heard(here.moved, testDoc("taken")); !ok || p.Epoch != moved.Pin().Epoch {
				t.Fatalf("what another region took: %v, %+v", ok, p)
			}
			if last, err := taken.Release(background, time.Now()); last || err != nil {
				t.Fatalf("release of what was taken: %v, %v", last, err)
			}
			check := func(when string) {
				t.Helper()
				lease, _, _ := here.Lease(testLicense)
				for i, h := range kept {
					if p, ok := w.pin(numbered(i)); !ok || p.Epoch != h.Pin().Epoch || !p.has(Holder{"a", lease}) {
						t.Fatalf("%s, document %d: %v, %+v, lease %s", when, i, ok, p, lease)
					}
				}
				if p, ok := w.pin(numbered(0)); !ok || !p.lists("c") || p.Epoch != adopted.Pin().Epoch {
					t.Fatalf("%s, the adopted document: %v, %+v", when, ok, p)
				}
				if p, _ := w.pin(testDoc("taken")); p.Region != "us-east-1" || !p.lists("b") {
					t.Fatalf("%s, what another region took: %+v", when, p)
				}
				if p, ok := w.pin(testDoc("new")); ok && len(p.Holders) > 0 {
					t.Fatalf("%s, what was refused: %+v", when, p)
				}
			}
			check("after healing")
			time.Sleep(6 * time.Second)
			check("later")
			if p, ok := w.pin(testDoc("left")); ok {
				t.Fatalf("what was released in the outage: %+v", p)
			}
		})
	}
}

func TestServersThatRestartOneAfterTheOtherMoveNothing(t *testing.T) {
	t.Parallel()
	server := natstest.Cluster(t, 3)
	w := natsWorld(t, server)
	a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	var holds []*Hold
	for i := range 100 {
		holds = append(holds, []*testNode{a, b}[i%2].hold(numbered(i)))
	}
	for k := range server.Len() {
		server.Restart(k)
		time.Sleep(time.Second)
	}
	a.settled()
	b.settled()
	keptAll(t, w, holds)
}

func TestRegistryThatIsDownForLongerThanALeaseMovesNothing(t *testing.T) {
	t.Parallel()
	server := natstest.Cluster(t, 3)
	w := natsWorld(t, server)
	w.change = append(w.change, shortLeases)
	a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	var holds []*Hold
	const documents = 200
	for i := range documents {
		holds = append(holds, []*testNode{a, b}[i%2].hold(numbered(i)))
	}
	for k := range server.Len() {
		server.Stop(k)
	}
	time.Sleep(7 * time.Second) // longer than a lease
	for k := range server.Len() {
		server.Start(k)
	}
	// A node of the other region asks while the holders are still reconnecting.
	deadline := time.Now().Add(10 * time.Second)
	for i := 0; time.Now().Before(deadline); i++ {
		var pinned *PinnedError
		if _, err := []*testNode{b, a}[i%2].Hold(context.Background(), numbered(i%documents)); !errors.As(err, &pinned) && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("a stranger's hold: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // the holders need the machine, too
	}
	a.settled()
	b.settled()
	keptAll(t, w, holds)
}

func keptAll(t *testing.T, w *world, holds []*Hold) {
	t.Helper()
	for i, h := range holds {
		if p, ok := w.pin(h.doc); !ok || p.Epoch != h.Pin().Epoch || p.Region != h.ps.cfg.Region || len(p.Holders) != 1 {
			t.Fatalf("document %d: %v, %+v", i, ok, p)
		}
	}
	for _, n := range w.nodes {
		n.mu.Lock()
		if len(n.moved)+len(n.restored)+len(n.rebased) > 0 {
			t.Errorf("node %s was told: moved %d, restored %d, rebased %d", n.cfg.Node, len(n.moved), len(n.restored), len(n.rebased))
		}
		n.mu.Unlock()
	}
}

func TestDeletedBucketIsMadeAgainWithItsPins(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	w := natsWorld(t, server)
	w.change = append(w.change, shortLeases)
	a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	var holds []*Hold
	for i := range 100 {
		holds = append(holds, []*testNode{a, b}[i%2].hold(numbered(i)))
	}
	js, err := jetstream.New(natstest.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_"+bucketName(testLicense)); err != nil {
		t.Fatal(err)
	}
	eventually(t, recreateAfter+10*time.Second, "all pins are back", func() bool {
		for _, h := range holds {
			e, err := bounded(t, a.buckets[testLicense].store, h.doc.PinKey())
			if err != nil || !e.Present {
				return false
			}
		}
		return true
	})
	a.settled()
	b.settled()
	for i, h := range holds {
		if p, ok := w.pin(h.doc); !ok || p.Epoch != h.Pin().Epoch || p.Region != h.ps.cfg.Region {
			t.Fatalf("document %d: %v, %+v", i, ok, p)
		}
		n := []*testNode{a, b}[i%2]
		eventually(t, time.Minute, fmt.Sprintf("document %d: the room is told", i), func() bool {
			_, ok := n.heard(n.restored, h.doc)
			return ok
		})
	}
	eventually(t, 10*time.Second, "the regions are known again", func() bool {
		infos, err := b.Regions(t.Context())
		return err == nil && len(infos) == 2 && infos[0].Status == RegionLive
	})
}

func TestBucketRestoredFromAnOldCopyUnderLiveDocumentsHeals(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	w := natsWorld(t, server)
	// Whether a lease that the copy lacks is seen to be gone before its node writes the
	// next one depends on the machine; if not, only the routine sweep finds its pins.
	w.change = append(w.change, shortLeases, func(c *Config) { c.SweepEvery = 6 * time.Second })
	a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
	c := w.node("us-east-1", "c")
	background := context.Background()
	release(t, a.hold(testDoc("lived before"))) // the copy has an earlier life of it
	ended := a.hold(testDoc("has ended"))
	elsewhere := c.hold(testDoc("lived elsewhere"))

	server.Stop(0)
	dir := server.StoreDir(0)
	if err := os.CopyFS(dir+".copy", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	server.Start(0)
	for _, n := range w.nodes {
		n.settled()
	}
	for _, h := range []*Hold{elsewhere, ended} {
		if _, err := h.Release(background, time.Now()); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err) // else it is owed
		}
	}
	free := func(name string) bool {
		_, s, err := a.Lookup(background, testDoc(name))
		return s == Free && err == nil
	}
	eventually(t, 10*time.Second, "the old lives are over", func() bool {
		return free("lived before") && free("lived elsewhere") && free("has ended")
	})
	var holds []*Hold
	docs := []docid.Document{testDoc("lived before"), testDoc("lived elsewhere")}
	for i := range 100 {
		docs = append(docs, numbered(i))
	}
	for _, doc := range docs {
		holds = append(holds, a.hold(doc), b.hold(doc))
	}

	server.Stop(0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".copy", dir); err != nil {
		t.Fatal(err)
	}
	server.Start(0)
	var wrong string
	healed := func() bool {
		wrong = ""
		for i, doc := range docs {
			// The copy may have it in another region: a node that saw that has followed,
			// and one that came when the lease there was over has taken it back.
			_, one := a.heard(a.moved, doc)
			_, two := b.heard(b.moved, doc)
			if one && two {
				continue
			}
			p, pinned := w.pin(doc)
			if !pinned {
				wrong = doc.String() + " is not pinned"
				return false
			}
			kept := func(h *Hold, n docid.NodeID) bool { return p.Epoch == h.Pin().Epoch && p.lists(n) }
			if p.Region != "eu-central-1" || !one && !kept(holds[2*i], "a") || !two && !kept(holds[2*i+1], "b") {
				wrong = fmt.Sprintf("%s is pinned as %+v, moved: %v %v", doc, p, one, two)
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(2 * time.Minute); !healed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
	}
	for _, n := range w.nodes {
		n.settled()
	}
	if !healed() {
		t.Fatal(wrong)
	}
	eventually(t, 30*time.Second, "what had ended is unpinned again", func() bool { return free("has ended") })
	eventually(t, 30*time.Second, "a room is told that its pin was restored", func() bool {
		_, one := a.heard(a.restored, numbered(0))
		_, two := b.heard(b.restored, numbered(0))
		return one || two
	})
}

// bounded reads a key, and gives up on a request that a restart has swallowed.
func bounded(t testing.TB, s kv.Store, key string) (kv.Entry, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return s.Get(ctx, key)
}
