// Package torture lets real Yjs clients type while everything under them fails
// at random, and checks that nothing typed is missing in the end: from the clients that
// are there, and of what those that are gone were told is saved, from the store.
//
// The faults are a plan that follows from a seed alone: a run prints its seed,
// and WSNODE_TORTURE_SEED repeats its plan. How requests to the store fail is drawn
// as they come. WSNODE_TORTURE is how long the faults
// go on; from ten minutes on there are 50 documents instead of 10.
package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

const (
	defaultLength = 3 * time.Minute
	longRun       = 10 * time.Minute

	// healing is how long a region may take to be whole again after the last
	// fault, on a machine that others use too.
	healing = 2 * time.Minute
)

func TestNothingTypedIsMissingAfterRandomFaults(t *testing.T) {
	length, seed := settings(t)
	documents, interval := fewDocuments, 100*time.Millisecond
	if length >= longRun {
		documents, interval = 50, 500*time.Millisecond
	}
	t.Logf("WSNODE_TORTURE=%s WSNODE_TORTURE_SEED=%d", length, seed)
	r := startRegion(t, seed)
	defer func() {
		if t.Failed() {
			r.dump()
		}
		r.stop()
	}()
	c := startCrowd(t, r, documents, interval)
	plan := newPlan(rand.New(rand.NewPCG(seed, 0)), length)
	start := time.Now()
	for _, s := range plan {
		time.Sleep(time.Until(start.Add(s.at)))
		t.Logf("%7.2fs %s", time.Since(start).Seconds(), s)
		s.do(r, c)
	}
	time.Sleep(time.Until(start.Add(length)))
	r.heal()
	c.check()
	c.checkStore(length >= longRun)
}

func settings(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = defaultLength, rand.Uint64()>>32
	var err error
	if value := os.Getenv("WSNODE_TORTURE"); value != "" {
		if length, err = time.ParseDuration(value); err != nil {
			t.Fatalf("WSNODE_TORTURE: %v", err)
		}
	}
	if value := os.Getenv("WSNODE_TORTURE_SEED"); value != "" {
		if seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			t.Fatalf("WSNODE_TORTURE_SEED: %v", err)
		}
	}
	return length, seed
}

const (
	// clientsPerDocument are spread over the nodes by the balancer.
	clientsPerDocument = 3
	fewDocuments       = 10
)

// crowd are the clients that type all the time. It changes while they do.
type crowd struct {
	t        *testing.T
	region   *region
	node     *yjs.Node
	tokens   [2]string // of the license region without a store, and of that with one
	interval time.Duration
	groups   [][]*yjs.Client // by document; nil: everybody has left
}

func startCrowd(t *testing.T, r *region, documents int, interval time.Duration) *crowd {
	t.Helper()
	c := &crowd{t: t, region: r, node: yjs.Start(t), interval: interval}
	for i, license := range []string{plainLicense, keptLicense} {
		c.tokens[i] = r.keys.Token(issuer.Claims{"dbCode": license})
	}
	c.groups = make([][]*yjs.Client, documents)
	for d := range c.groups {
		c.open(d)
	}
	for _, group := range c.groups {
		for _, client := range group {
			client.WaitSynced()
		}
		c.node.StartAsking(c.interval, group...)
	}
	return c
}

// open opens the clients of a document.
func (c *crowd) open(d int) {
	for i := range clientsPerDocument {
		c.groups[d] = append(c.groups[d], c.join(d, i))
	}
}

// enter has new clients type into a document that everybody has left.
func (c *crowd) enter(d int) {
	c.open(d)
	c.node.StartAsking(c.interval, c.groups[d]...)
}

// leave ends all clients of a document for good.
func (c *crowd) leave(d int) {
	for _, client := range c.groups[d] {
		client.Destroy()
	}
	c.groups[d] = nil
}

func (c *crowd) token(d int) string { return c.tokens[d%2] }

// join opens a client of a document; i chooses its way to the region.
func (c *crowd) join(d, i int) *yjs.Client {
	return c.node.Open(yjs.Options{
		URL: c.region.door(i), Document: name(d), Token: c.token(d),
		User: fmt.Sprintf("user %d.%d", d, i), Library: 2 + (d+i)%2,
	})
}

// replace ends one client of a document for good and lets another begin.
func (c *crowd) replace(d, i int) {
	d, i = d%len(c.groups), i%clientsPerDocument
	if c.groups[d] == nil {
		return
	}
	c.groups[d][i].Destroy()
	c.groups[d][i] = c.join(d, i)
	c.node.StartAsking(c.interval, c.groups[d][i])
}

func name(d int) string { return fmt.Sprintf("doc-%d", d) }

// check ends the typing and compares all clients of each document, then a fresh
// one on each node.
func (c *crowd) check() {
	c.t.Helper()
	total := 0
	for _, group := range c.groups {
		for _, edits := range c.node.StopTyping(group...) {
			total += edits
		}
	}
	start := time.Now()
	for d, group := range c.groups {
		c.node.WaitSame(healing, group...)
		for _, n := range c.region.nodes {
			late := c.node.Join(yjs.Options{URL: n.WS(), Document: name(d), Token: c.token(d)})
			group = append(group, late)
		}
		c.groups[d] = group
		c.node.WaitSame(healing, group...)
		for _, client := range group {
			if s := client.State(); s.Pending && !c.node.Holes(name(d)) {
				c.t.Errorf("doc-%d: a client waits for updates that it never got", d)
			}
		}
	}
	reconnects := 0
	for _, group := range c.groups {
		for _, client := range group {
			reconnects += client.State().Connects - 1
		}
	}
	c.t.Logf("%d edits by those alive at the end, %d reconnects; all complete %v after the last fault", total, reconnects, time.Since(start).Round(time.Millisecond))
}
