package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/cmd/wsctl/pins"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	typists "github.com/wsnode/wsnode/test/e2e/crowd"
)

// node finds a node of either region.
func (r *twoRegions) node(name docid.NodeID) (found *devcluster.Node) {
	for n := range r.Nodes {
		if n.ID == name {
			found = n
		}
	}
	return found
}

// moveAny moves some document to the other region, by some node that has it open, and
// reports whether it is there.
func (r *twoRegions) moveAny(random *rand.Rand) (what string, moved bool) {
	var pins []pins.Row
	_, listed := ctl(r.t, r.Regions[0].NATS.URL(), "pins", "list", "--state", "live", "-o", "json")
	if json.Unmarshal([]byte(listed), &pins) != nil || len(pins) == 0 {
		return "no document is live", false
	}
	p := pins[random.IntN(len(pins))]
	to := usRegion
	if p.Region == usRegion {
		to = euRegion
	}
	n := r.node(p.Nodes[random.IntN(len(p.Nodes))]).Current()
	if n == nil {
		return "the node of " + p.Name + " is gone", false
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	d := control.Document{License: p.License, Tenant: p.Tenant, App: p.App, Name: p.Name}
	result, err := n.Operators().Move(ctx, control.MoveRequest{Document: d, To: to})
	return fmt.Sprintf("move %s to %s: %.0f ms, %v", p.Name, to, result.StoppedMS, err), err == nil
}

// disturb does something that moves have to bear.
func (r *twoRegions) disturb(random *rand.Rand) (what string) {
	region := r.Regions[random.IntN(2)]
	n := region.Nodes[random.IntN(len(region.Nodes))]
	last := 500*time.Millisecond + time.Duration(random.Int64N(int64(3*time.Second)))
	switch random.IntN(4) {
	case 0:
		n.Kill()
		time.Sleep(last)
		if err := n.Start(r.t.Context()); err != nil {
			r.t.Errorf("start %s: %v", n.ID, err)
		}
		return fmt.Sprintf("%s was killed and away for %s", n.ID, last)
	case 1:
		_ = n.Stop(r.t.Context())
		if err := n.Start(r.t.Context()); err != nil {
			r.t.Errorf("start %s: %v", n.ID, err)
		}
		return fmt.Sprintf("%s was restarted", n.ID)
	case 2:
		region.Cut(true)
		time.Sleep(last)
		region.Cut(false)
		return fmt.Sprintf("%s had no registry for %s", region.Name, last)
	}
	fault := storagetest.Faults[random.IntN(len(storagetest.Faults))]
	r.store.Set(fault)
	time.Sleep(last)
	r.store.Set(storagetest.None)
	return fmt.Sprintf("the store was %s for %s", fault, last)
}

// Documents move to and fro under typing clients, while nodes die and restart, regions lose
// the registry and the store fails: nobody loses an edit. WSNODE_SOAK is for how long;
// WSNODE_SEED repeats what is drawn.
func TestDocumentsMoveToAndFroUnderFaults(t *testing.T) {
	length, faults := 3*time.Second, false
	if soak, err := time.ParseDuration(os.Getenv("WSNODE_SOAK")); err == nil {
		length, faults = soak, true
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("WSNODE_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("WSNODE_SEED=%d", seed)
	r := newTwoRegions(t)
	r.store.Delay = 2 * time.Second
	target := load.Target{Name: "two regions", Token: r.token}
	for n := range r.Nodes {
		target.URLs = append(target.URLs, n.URL)
	}
	people := typists.Start(t, "typing clients", target, load.EndureOptions{Docs: 4, Clients: 4, Rate: 40})
	over := time.Now().Add(length)
	var moves atomic.Int64
	goesOn := func() bool { // a busy machine may need longer for the first move
		now := time.Now()
		return now.Before(over) || moves.Load() == 0 && now.Before(over.Add(time.Minute))
	}
	done := make(chan []string)
	work := func(random *rand.Rand, do func(*rand.Rand) string) {
		go func() {
			var did []string
			for goesOn() {
				did = append(did, time.Now().Format("05.000 ")+do(random))
			}
			done <- did
		}()
	}
	works := 1
	work(rand.New(rand.NewPCG(seed, 1)), func(random *rand.Rand) string {
		time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond)))) // some come back before they have to go again
		what, moved := r.moveAny(random)
		if moved {
			moves.Add(1)
		}
		return what
	})
	if faults {
		works++
		work(rand.New(rand.NewPCG(seed, 2)), func(random *rand.Rand) string {
			time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
			return r.disturb(random)
		})
	}
	var did []string
	for range works {
		did = append(did, <-done...)
	}
	slices.Sort(did)
	for _, what := range did {
		t.Log(what)
	}
	if moves.Load() == 0 {
		t.Error("no document was moved")
	}
	people.Finish()
}
