package kvpin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
	"github.com/wsnode/wsnode/test/natstest"
)

const testLicense = docid.LicenseRegion("aws-eu-west-1")

// Times of the test worlds: short, but long enough for a machine that is busy.
const (
	worldGrace    = 4 * time.Second
	worldLeaseTTL = 5 * time.Second
	// A server may expire a key this much late.
	worldLate = 2500 * time.Millisecond
)

// world is one registry with the nodes that use it.
type world struct {
	t      testing.TB
	bucket *kvtest.Bucket     // nil on NATS
	server *natstest.Instance // nil on the fake
	url    string
	change []func(*Config)
	nodes  []*testNode
}

// testNode is one node's registry, and what it was told.
type testNode struct {
	*Registry
	t    testing.TB
	link *kvtest.Store // nil on NATS
	gone bool

	mu       sync.Mutex
	moved    map[docid.Document]Pin
	restored map[docid.Document]Pin
	rebased  map[docid.Document]Pin
	ended    map[docid.Document]Pin
	unpinned []docid.Document
	swept    int
	renewed  []docid.Document
	told     []docid.Document
	stopped  []docid.Document
	over     []docid.Document
	failures int // Restored, Rebased and Told fail that often
}

// worlds runs a test in virtual time on the fake, and on real servers.
func worlds(t *testing.T, test func(w *world)) {
	t.Parallel()
	inVirtualTime(t, test)
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		server := natstest.Server(t)
		onNATS(t, &world{t: t, server: server, url: server.URL}, test)
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		server := natstest.Cluster(t, 3)
		onNATS(t, &world{t: t, server: server, url: server.URL}, test)
	})
	t.Run("slow link", func(t *testing.T) {
		t.Parallel()
		server := natstest.Server(t)
		proxy := natstest.NewProxy(t, server.URL)
		proxy.SetDelay(20 * time.Millisecond)
		onNATS(t, &world{t: t, server: server, url: proxy.URL}, test)
	})
}

func inVirtualTime(t *testing.T, test func(w *world)) {
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, bucket: kvtest.New()}
			defer w.bucket.Stop()
			defer w.close()
			test(w)
		})
	})
}

func onNATS(t *testing.T, w *world, test func(w *world)) {
	defer w.close()
	test(w)
}

func (w *world) close() {
	for _, n := range w.nodes {
		n.kill()
	}
}

// node starts a node; changes apply to its configuration.
func (w *world) node(region docid.Region, id docid.NodeID, change ...func(*Config)) *testNode {
	w.t.Helper()
	n := &testNode{
		t: w.t, moved: map[docid.Document]Pin{}, restored: map[docid.Document]Pin{}, rebased: map[docid.Document]Pin{},
		ended: map[docid.Document]Pin{},
	}
	cfg := Config{
		Region: region, Node: id, URL: "wss://" + string(region) + ".example",
		Grace: worldGrace, LeaseTTL: worldLeaseTTL, RenewEvery: worldLeaseTTL / 5, SweepAfter: worldLeaseTTL,
		Timeout: 2 * time.Second, Deadline: 4 * time.Second,
		Unpinned: func(doc docid.Document, _ Pin) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.unpinned = append(n.unpinned, doc)
		},
		Swept: func(docid.LicenseRegion) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.swept++
		},
	}
	for _, c := range append(slices.Clone(w.change), change...) {
		c(&cfg)
	}
	cfg.SweepAfter = max(cfg.SweepAfter, cfg.LeaseTTL)
	var err error
	if w.bucket != nil {
		cfg = cfg.withDefaults()
		if err := cfg.validate(); err != nil {
			w.t.Fatal(err)
		}
		n.link = w.bucket.Link()
		n.Registry = &Registry{cfg: cfg, buckets: make(map[docid.LicenseRegion]*bucket), links: kv.NewLinks("", nil)}
		n.buckets[testLicense] = newBucket(&n.cfg, testLicense, n.link)
		err = n.start(context.Background())
	} else {
		cfg.Registries = map[docid.LicenseRegion]Source{testLicense: {URL: w.url, Create: true, Replicas: w.server.Len()}}
		n.Registry, err = Open(w.t.Context(), cfg)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	n.Attach(n)
	w.nodes = append(w.nodes, n)
	return n
}

// kill ends the node as a crash does: nothing is given back.
func (n *testNode) kill() {
	if !n.gone {
		n.gone = true
		n.stop()
	}
}

// leave ends the node in order.
func (n *testNode) leave() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n.gone = true
	if err := n.Close(ctx); err != nil {
		n.t.Errorf("close node %s: %v", n.cfg.Node, err)
	}
}

func (n *testNode) Moved(doc docid.Document, p Pin) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moved[doc] = p
}

func (n *testNode) Ended(doc docid.Document, p Pin) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended[doc] = p
}

func (n *testNode) Restored(_ context.Context, doc docid.Document, p Pin) error {
	return n.hear(n.restored, doc, p)
}

func (n *testNode) Rebased(_ context.Context, doc docid.Document, p Pin) error {
	return n.hear(n.rebased, doc, p)
}

func (n *testNode) Renewed(doc docid.Document) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.renewed = append(n.renewed, doc)
}

func (n *testNode) Told(_ context.Context, doc docid.Document, _ Epoch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failures > 0 {
		n.failures--
		return fmt.Errorf("the store does not answer")
	}
	n.told = append(n.told, doc)
	return nil
}

func (n *testNode) Stop(_ context.Context, doc docid.Document, _ Epoch, _ time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failures > 0 {
		n.failures--
		return fmt.Errorf("the history does not answer")
	}
	n.stopped = append(n.stopped, doc)
	return nil
}

func (n *testNode) MoveOver(doc docid.Document) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = append(n.over, doc)
}

func (n *testNode) hear(m map[docid.Document]Pin, doc docid.Document, p Pin) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failures > 0 {
		n.failures--
		return fmt.Errorf("the room is not ready")
	}
	m[doc] = p
	return nil
}

// heard returns what the node was told about a document.
func (n *testNode) heard(m map[docid.Document]Pin, doc docid.Document) (Pin, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := m[doc]
	return p, ok
}

func testDoc(name string) docid.Document {
	return docid.Document{License: testLicense, Tenant: "acme", App: "notes", Name: name}
}

// patiently repeats what a busy machine made time out.
func (n *testNode) patiently(try func() error) {
	n.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if !errors.Is(err, ErrUnavailable) || time.Now().After(deadline) {
			n.t.Fatalf("node %s: %v", n.cfg.Node, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (n *testNode) hold(doc docid.Document) (h *Hold) {
	n.t.Helper()
	n.patiently(func() (err error) { h, err = n.Hold(context.Background(), doc); return err })
	return h
}

func (n *testNode) lookup(doc docid.Document) (p Pin, s State) {
	n.t.Helper()
	n.patiently(func() (err error) { p, s, err = n.Lookup(context.Background(), doc); return err })
	return p, s
}

func release(t testing.TB, h *Hold) (last bool) {
	t.Helper()
	last, err := h.Release(context.Background(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// eventually waits until the condition holds, and returns how long it took.
func eventually(t testing.TB, within time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > patience(within) {
			t.Fatalf("not within %s: %s", patience(within), what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

// patience is how long a test waits for what is promised within a time: that long on
// the fake, in virtual time, and longer on real servers, whose machine others may keep
// busy.
func patience(within time.Duration) time.Duration {
	if virtual := time.Now().Year() < 2020; virtual { // a bubble's clock begins in 2000
		return within
	}
	return max(within, time.Minute)
}

// restore makes the bucket what a copy holds, with leases that soon expire.
func (w *world) restore(keys map[string]kv.Entry, last uint64) {
	w.bucket.Restore(keys, last, func(key string) time.Duration {
		if strings.HasPrefix(key, leasePrefix) {
			return 5 * time.Second
		}
		return 0
	})
}

// pins are the pins that exist, past all faults.
func (w *world) pins() map[string]Pin {
	pins := make(map[string]Pin)
	keys, _ := w.bucket.Snapshot()
	for key, e := range keys {
		if e.Present && strings.HasPrefix(key, "pin.") {
			p, err := decodePin(e)
			if err != nil {
				panic(err)
			}
			pins[key] = p
		}
	}
	return pins
}

// entry reads a document's key past all faults.
func (w *world) pin(doc docid.Document) (Pin, bool) {
	w.t.Helper()
	var e kv.Entry
	if w.bucket != nil {
		e = w.bucket.Get(doc.PinKey())
	} else {
		deadline := time.Now().Add(time.Minute)
		for {
			var err error
			if e, err = bounded(w.t, w.nodes[0].buckets[testLicense].store, doc.PinKey()); err == nil {
				break
			}
			if time.Now().After(deadline) {
				w.t.Fatal(err)
			}
		}
	}
	if !e.Present {
		return Pin{}, false
	}
	p, err := decodePin(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, true
}
