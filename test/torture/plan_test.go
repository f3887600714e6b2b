package torture

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/natstest"
)

// step is something that happens to the region at a time after the start.
type step struct {
	at   time.Duration
	what string
	do   func(*region, *crowd)
}

func (s step) String() string { return s.what }

// fault is a kind of failure with a target of its own: one that is failing
// already is left alone.
type fault struct {
	weight  int
	kind    string // targets are told apart by it and their number
	targets int
	most    time.Duration // how long it lasts at most; 0: no time at all
	name    string
	begin   func(r *region, c *crowd, target int)
	end     func(r *region, c *crowd, target int)
}

var faults = []fault{
	{3, "node", nodes, 4 * time.Second, "kill -9 node",
		func(r *region, _ *crowd, i int) { r.killNode(i) }, func(r *region, _ *crowd, i int) { r.reviveNode(i) }},
	{2, "nats", servers, 4 * time.Second, "kill -9 nats-server",
		func(r *region, _ *crowd, i int) { r.killNATS(i) }, func(r *region, _ *crowd, i int) { r.reviveNATS(i) }},
	{1, "nats", servers, 5 * time.Second, "restart nats-server",
		func(r *region, _ *crowd, i int) { r.stopNATS(i) }, func(r *region, _ *crowd, i int) { r.reviveNATS(i) }},
	{3, "nats", servers, 8 * time.Second, "SIGSTOP nats-server",
		func(r *region, _ *crowd, i int) { r.pauseNATS(i) }, func(r *region, _ *crowd, i int) { r.resumeNATS(i) }},
	{3, "link", nodes, 0, "reset the connections to NATS of node",
		func(r *region, _ *crowd, i int) { r.resetLinks(i) }, nil},
	{3, "link", nodes, 5 * time.Second, "cut NATS off from node",
		func(r *region, _ *crowd, i int) { r.cutLinks(i) }, func(r *region, _ *crowd, i int) { r.healLinks(i) }},
	{3, "door", doors, 8 * time.Second, "stall the clients at door",
		func(r *region, _ *crowd, i int) { r.doors[i].Cut() }, func(r *region, _ *crowd, i int) { r.doors[i].Heal() }},
	{2, "door", doors, 8 * time.Second, "slow the clients down at door",
		func(r *region, _ *crowd, i int) { r.doors[i].SetDelay(400 * time.Millisecond) },
		func(r *region, _ *crowd, i int) { r.doors[i].SetDelay(0) }},
	{2, "storm", 1, 0, "reset all clients",
		func(r *region, _ *crowd, _ int) { each(r.doors, (*natstest.Proxy).Reset) }, nil},
	{2, "client", 1000, 0, "replace client",
		func(_ *region, c *crowd, i int) { c.replace(i/clientsPerDocument, i) }, nil},
	{1, "node", nodes, 14 * time.Second, "SIGSTOP node",
		func(r *region, _ *crowd, i int) { r.freezeNode(i) }, func(r *region, _ *crowd, i int) { r.thawNode(i) }},
	{2, "store", 1, 5 * time.Second, "the store is away",
		func(r *region, _ *crowd, _ int) { r.store.setAway(true) }, func(r *region, _ *crowd, _ int) { r.store.setAway(false) }},
	{4, "document", fewDocuments, 9 * time.Second, "everybody leaves document",
		func(_ *region, c *crowd, i int) { c.leave(i) }, func(_ *region, c *crowd, i int) { c.enter(i) }},
}

// newPlan draws faults until length is over. The same random numbers make the
// same plan.
func newPlan(random *rand.Rand, length time.Duration) (plan []step) {
	weights := 0
	for _, f := range faults {
		weights += f.weight
	}
	busy := map[string]time.Duration{} // until when a target fails
	for at := 2 * time.Second; ; at += 300*time.Millisecond + time.Duration(random.Int64N(int64(1700*time.Millisecond))) {
		if at >= length-time.Second {
			break
		}
		n := random.IntN(weights)
		f := faults[0]
		for _, f = range faults {
			if n -= f.weight; n < 0 {
				break
			}
		}
		target := random.IntN(f.targets)
		lasts := time.Duration(0)
		if f.most > 0 {
			lasts = 500*time.Millisecond + time.Duration(random.Int64N(int64(f.most-500*time.Millisecond)))
		}
		key := fmt.Sprint(f.kind, target)
		if until, failing := busy[key]; failing && at <= until || at+lasts >= length {
			continue
		}
		busy[key] = at + lasts
		plan = append(plan, step{at, fmt.Sprintf("%s %d", f.name, target), func(r *region, c *crowd) { f.begin(r, c, target) }})
		if f.end != nil {
			plan = append(plan, step{at + lasts, fmt.Sprintf("end of: %s %d", f.name, target), func(r *region, c *crowd) { f.end(r, c, target) }})
		}
	}
	slices.SortStableFunc(plan, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return plan
}

func TestTheSameSeedMakesTheSamePlan(t *testing.T) {
	draw := func(seed uint64) (texts []string) {
		for _, s := range newPlan(rand.New(rand.NewPCG(seed, 0)), time.Hour) {
			texts = append(texts, s.at.String()+" "+s.what)
		}
		return texts
	}
	if a, b := draw(1), draw(1); !slices.Equal(a, b) || len(a) < 1000 {
		t.Errorf("plans of %d and %d steps of one seed", len(a), len(b))
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Error("two seeds make one plan")
	}
}
