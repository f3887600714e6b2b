//go:build !race

// The model's own bookkeeping relies on virtual time, in which one goroutine runs
// after the other, and not on locks; the race detector knows nothing of that. The
// other tests run the same code under it.

package kvpin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

var histories = flag.Int("histories", 300, "random histories that TestRandomHistoriesKeepTheInvariants goes through")
var firstSeed = flag.Uint64("seed", 0, "seed of the first history; 0 for a random one")

// TestRandomHistoriesKeepTheInvariants lets nodes of three regions open and close
// documents as a relay does, while nodes die, links are cut, writes are lost, late
// or without an answer, and leases run out. All the while, a document is live in
// one region and one epoch among the nodes whose leases are current; and once all
// is healed, every room is pinned and every pin has a room.
func TestRandomHistoriesKeepTheInvariants(t *testing.T) {
	t.Parallel()
	seed := *firstSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i := range *histories {
		seed := seed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runHistory(t, seed) })
		})
		if !ok {
			return
		}
	}
}

// history is one run of the model.
type history struct {
	t     *testing.T
	rng   *rand.Rand
	w     *world
	nodes []*modelNode
	links []*kvtest.Store // of all nodes that ever were
	docs  []docid.Document
	born  int     // nodes so far
	flaky float64 // share of requests that meet a fault
	log   []string
	start time.Time
}

// modelNode is a node with rooms, as small as it can be.
type modelNode struct {
	h *history
	*testNode
	region docid.Region
	id     docid.NodeID
	dead   bool
	rooms  map[docid.Document]*modelRoom
}

// modelRoom is a document on a node. Its fields belong to whoever has the turn,
// but sessions and epoch, which belong to the model's only running goroutine.
type modelRoom struct {
	turn     chan struct{}
	hold     *Hold
	sessions int
	epoch    Epoch
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%8.3f ", time.Since(h.start).Seconds())+fmt.Sprintf(format, args...))
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	for _, line := range h.log {
		h.t.Log(line)
	}
	h.t.Fatalf(format, args...)
}

func runHistory(t *testing.T, seed uint64) {
	h := &history{t: t, rng: rand.New(rand.NewPCG(seed, 0)), start: time.Now()}
	h.w = &world{t: t, bucket: kvtest.New()}
	defer h.w.bucket.Stop()
	defer h.w.close()
	for i := range 3 {
		h.docs = append(h.docs, testDoc(fmt.Sprintf("d%d", i)))
	}
	for _, region := range []docid.Region{"eu-central-1", "eu-central-2", "us-east-1"} {
		for range 2 {
			h.birth(region)
		}
	}
	if h.rng.IntN(2) == 0 {
		h.flaky = h.rng.Float64() * 0.2
	}
	for range 100 + h.rng.IntN(200) {
		h.step()
		time.Sleep(time.Duration(h.rng.ExpFloat64() * float64(300*time.Millisecond)))
		h.checkLive()
	}
	h.settle()
	h.checkSettled()
}

func (h *history) birth(region docid.Region) {
	h.born++
	n := &modelNode{h: h, region: region, id: docid.NodeID(fmt.Sprintf("n%d", h.born)), rooms: make(map[docid.Document]*modelRoom)}
	n.testNode = h.w.node(region, n.id, func(c *Config) {
		c.Timeout, c.Deadline = 800*time.Millisecond, 1500*time.Millisecond
		c.Observe = func(op string, _ time.Duration, err error) {
			if op == "sweep" {
				h.note("%s sweeps: %v", n.id, err)
			}
		}
	})
	n.Attach(n)
	n.link.SetFault(n.fault)
	h.links = append(h.links, n.link)
	h.nodes = append(h.nodes, n)
	h.note("%s/%s is born", region, n.id)
}

func (n *modelNode) fault(bool, string) kvtest.Fault {
	h := n.h
	delay := time.Duration(h.rng.ExpFloat64() * float64(2*time.Millisecond))
	if h.rng.Float64() >= h.flaky {
		return kvtest.Fault{Delay: delay}
	}
	lateBy := time.Duration(h.rng.ExpFloat64() * float64(10*time.Second))
	return kvtest.Fault{
		Outcome: kvtest.Outcome(h.rng.IntN(4)), Delay: delay * time.Duration(1+h.rng.IntN(300)), LateBy: max(lateBy, 1),
	}
}

func (h *history) step() {
	n := h.nodes[h.rng.IntN(len(h.nodes))]
	doc := h.docs[h.rng.IntN(len(h.docs))]
	if n.dead {
		if h.rng.IntN(10) == 0 {
			n.rooms = nil
			h.birth(n.region)
			h.nodes = h.remove(n)
		}
		return
	}
	switch p := h.rng.IntN(100); {
	case p < 45:
		go n.connect(doc)
	case p < 88:
		n.disconnect(doc)
	case p < 91:
		n.die()
	case p < 95:
		h.toggle(n)
	case p < 97:
		h.note("the region %s loses or regains its registry", n.region)
		for _, other := range h.nodes {
			if other.region == n.region && !other.dead {
				h.toggle(other)
			}
		}
	default:
		h.note("%s reconnects to the registry", n.id)
		n.link.Reconnect()
	}
}

func (h *history) remove(n *modelNode) (left []*modelNode) {
	for _, o := range h.nodes {
		if o != n {
			left = append(left, o)
		}
	}
	return left
}

func (h *history) toggle(n *modelNode) {
	if n.link.IsCut() {
		h.note("%s is healed", n.id)
		n.link.Heal()
	} else {
		h.note("%s is cut off", n.id)
		n.link.Sever()
	}
}

func (n *modelNode) die() {
	n.h.note("%s dies", n.id)
	n.dead = true
	n.kill()
}

func (n *modelNode) room(doc docid.Document) *modelRoom {
	r := n.rooms[doc]
	if r == nil {
		r = &modelRoom{turn: make(chan struct{}, 1)}
		n.rooms[doc] = r
	}
	return r
}

// connect is a client that comes.
func (n *modelNode) connect(doc docid.Document) {
	r := n.room(doc)
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if n.dead {
		return
	}
	if r.hold == nil {
		if _, s, err := n.Lookup(context.Background(), doc); err == nil && s == Live && n.h.rng.IntN(2) == 0 {
			return // redirected, or it thinks better of it
		}
		hold, err := n.Hold(context.Background(), doc)
		var pinned *PinnedError
		switch {
		case errors.As(err, &pinned):
			return
		case err != nil && !errors.Is(err, ErrUnavailable):
			n.h.t.Errorf("hold: %v", err)
			return
		case err != nil:
			if hold = n.adoptFromRegion(doc); hold == nil {
				return
			}
		}
		if n.dead {
			return
		}
		n.h.note("%s opens %s in %s", n.id, doc.Name, hold.Pin().Epoch)
		r.hold, r.epoch = hold, hold.Pin().Epoch
	}
	r.sessions++
}

// adoptFromRegion asks the region's rooms, as a relay does without the registry.
func (n *modelNode) adoptFromRegion(doc docid.Document) *Hold {
	for _, other := range n.h.nodes {
		if r := other.rooms[doc]; other != n && other.region == n.region && !other.dead && r != nil && r.sessions > 0 {
			hold, err := n.Adopt(doc, r.epoch)
			if err != nil {
				return nil
			}
			n.h.note("%s adopts %s from %s", n.id, doc.Name, other.id)
			return hold
		}
	}
	return nil
}

// disconnect ends all of a room's sessions; a second later it is closed.
func (n *modelNode) disconnect(doc docid.Document) {
	r := n.rooms[doc]
	if r == nil || r.sessions == 0 {
		return
	}
	r.sessions = 0
	left := time.Now()
	time.AfterFunc(time.Second, func() { n.close(doc, r, left) })
}

func (n *modelNode) close(doc docid.Document, r *modelRoom, left time.Time) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if n.dead || r.sessions > 0 || r.hold == nil {
		return
	}
	last, err := r.hold.Release(context.Background(), left)
	n.h.note("%s closes %s: last %v, %v", n.id, doc.Name, last, err)
	r.hold = nil
}

func (n *modelNode) Moved(doc docid.Document, p Pin) {
	n.h.note("%s is told that %s moved to %s", n.id, doc.Name, p.Region)
	r := n.rooms[doc]
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.hold != nil && r.hold.ctx.Err() != nil {
		r.hold, r.sessions = nil, 0
	}
}

func (n *modelNode) Ended(doc docid.Document, p Pin) { n.Moved(doc, p) }

func (n *modelNode) Restored(_ context.Context, doc docid.Document, p Pin) error {
	return n.follow(doc, p, "restored")
}

func (n *modelNode) Rebased(_ context.Context, doc docid.Document, p Pin) error {
	return n.follow(doc, p, "rebased")
}

func (n *modelNode) Renewed(docid.Document) {}

func (n *modelNode) Told(context.Context, docid.Document, Epoch) error { return nil }

func (n *modelNode) follow(doc docid.Document, p Pin, how string) error {
	if n.h.rng.Float64() < n.h.flaky {
		return errors.New("the room is not ready")
	}
	n.h.note("%s is told that %s was %s to %s", n.id, doc.Name, how, p.Epoch)
	if r := n.rooms[doc]; r != nil {
		r.epoch = p.Epoch
	}
	return nil
}

// checkLive holds at every moment: the nodes that are in a pin by a lease that is
// current agree about region and epoch.
func (h *history) checkLive() {
	for _, doc := range h.docs {
		var found Pin
		var by docid.NodeID
		for _, n := range h.nodes {
			b := n.buckets[testLicense]
			b.docs.mu.Lock()
			d := b.docs.docs[doc]
			var hold *Hold
			if d != nil {
				hold = d.hold
			}
			b.docs.mu.Unlock()
			lease, ok := b.lease.current(time.Now())
			if n.dead || hold == nil || !ok || !hold.Pin().has(Holder{n.id, lease.id}) {
				continue
			}
			if p := hold.Pin(); by == "" {
				found, by = p, n.id
			} else if p.Region != found.Region || p.Epoch != found.Epoch {
				h.fail("%s lives twice: %s has it in %s/%s, %s in %s/%s", doc.Name, by, found.Region, found.Epoch, n.id, p.Region, p.Epoch)
			}
		}
	}
}

// settle heals everything and waits as long as the contract allows. Orphans are
// swept by their region, so every region gets a node. What is on its way arrives, also from
// the dead: a claim that came after its region has swept would stay until somebody opens
// the document, or the routine sweep.
func (h *history) settle() {
	h.note("everything is healed")
	h.flaky = 0
	for _, region := range []docid.Region{"eu-central-1", "eu-central-2", "us-east-1"} {
		h.birth(region)
	}
	for _, n := range h.nodes {
		if !n.dead && n.link.IsCut() {
			n.link.Heal()
		}
	}
	for _, l := range h.links {
		l.Resume()
	}
	for range 120 {
		time.Sleep(time.Second)
		h.checkLive()
	}
}

func (h *history) checkSettled() {
	pins := h.w.pins()
	for _, doc := range h.docs {
		p, pinned := pins[doc.PinKey()]
		rooms := 0
		for _, n := range h.nodes {
			r := n.rooms[doc]
			if n.dead || r == nil || r.hold == nil {
				if p.lists(n.id) && !n.dead { // dead holders go when the last living one leaves
					h.fail("%s: the pin lists %s, which has no room: %+v", doc.Name, n.id, p)
				}
				continue
			}
			rooms++
			lease, _ := n.buckets[testLicense].lease.current(time.Now())
			if !pinned || p.Region != n.region || p.Epoch != r.epoch || !p.has(Holder{n.id, lease.id}) {
				h.fail("%s has a room in %s/%s of %s, lease %s; pinned: %v, %+v", n.id, n.region, r.epoch, doc.Name, lease.id, pinned, p)
			}
		}
		if pinned && rooms == 0 {
			h.fail("%s is pinned without a room: %+v", doc.Name, p)
		}
	}
	for _, n := range h.nodes {
		if s := n.Stats(testLicense); !n.dead && (s.Validating > 0 || !s.Reachable) {
			h.fail("%s has not settled: %+v", n.id, s)
		}
	}
}
