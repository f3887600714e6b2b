package main

import (
	"math/bits"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// small is a deployment that a test can look at document by document.
func small() Deployment {
	d := design()
	d.Regions, d.Live = 3, 2000
	return d
}

func runRegion(d Deployment, id int) *region {
	r := newRegion(d, newCatalogue(d), id)
	r.run()
	return r
}

func sum(values []int64) (n int64) {
	for _, v := range values {
		n += v
	}
	return n
}

// total is what all registries counted.
func (t *Tally) total() (all Registry) {
	for i := range t.Registries {
		mine, theirs := all.counters(), t.Registries[i].counters()
		for k := range mine {
			*mine[k] = append(*mine[k], sum(*theirs[k]))
		}
	}
	return all
}

// Regions 0 and 1 are struck by faults, region 2 is not.
func TestWhatComesInGoesOutOrIsStillThere(t *testing.T) {
	for id := range 3 {
		r := runRegion(small(), id)
		var sessions, rooms, pins, onPods, roomsOnPods int64
		var asked load
		for i := range r.docs {
			d := &r.docs[i]
			for p := range r.Pods {
				sessions += int64(d.sessions[p])
			}
			rooms += int64(bits.OnesCount16(d.open))
			if d.pinned {
				pins++
			} else if d.open != 0 {
				t.Fatalf("region %d: document %d is open and not pinned", id, i)
			}
			asked.add(r.loadOf(d))
		}
		for _, p := range r.pods {
			onPods += int64(p.sessions)
			roomsOnPods += int64(p.rooms)
		}
		same := func(what string, values ...int64) {
			t.Helper()
			for _, v := range values[1:] {
				if v != values[0] {
					t.Errorf("region %d: %s: %d should all be the same", id, what, values)
				}
			}
		}
		same("sessions", sessions, onPods, r.Present, r.Began+r.Arrived-r.Left)
		same("rooms", rooms, roomsOnPods, r.OpenRooms, r.BeganRooms+r.Opened-r.Closed)
		same("pins", pins, r.Pinned, r.BeganPins+r.Claimed-r.Unpinned)
		if asked != r.load {
			t.Errorf("region %d: the load is %+v, and its documents ask for %+v", id, r.load, asked)
		}
		if r.Arrived == 0 || r.Left == 0 || r.Claimed == 0 || r.Unpinned == 0 {
			t.Errorf("region %d: nothing happened: %+v", id, r.Figures)
		}
	}
}

// The contract's counts: opening and closing a document costs at most four writes,
// the marker of the expired pin included, and holding it next to none.
func TestADocumentCostsAtMostFourWritesToOpenAndClose(t *testing.T) {
	for _, byDocument := range []bool{false, true} {
		d := small()
		d.ByDocument = byDocument
		r := runRegion(d, 2)
		all := r.tally.total()
		enters, releases, refused := sum(all.Enters), sum(all.Releases), sum(all.Refused)
		if enters != r.Opened || releases != r.Closed {
			t.Errorf("%d rooms opened with %d writes, %d closed with %d: expected one each", r.Opened, enters, r.Closed, releases)
		}
		if refused > releases || byDocument && refused > 0 {
			t.Errorf("of %d releases %d were refused once (by document: %v)", releases, refused, byDocument)
		}
		if expiries := sum(all.Expiries); expiries != r.Unpinned || expiries > releases {
			t.Errorf("%d markers of expired pins after %d releases, %d documents unpinned", expiries, releases, r.Unpinned)
		}
		held := float64(r.BeganRooms) * r.Window.Hours() / (backstop.Hours() * 3 / 8)
		if backstops := float64(sum(all.Backstops)); backstops > held {
			t.Errorf("%v backstops: more than the rooms that were open at the beginning allow, %.0f", backstops, held)
		}
		if sum(all.Orphans) != 0 {
			t.Error("orphans without a fault")
		}
	}
}

func TestADeadPodsDocumentsAreTakenUpOrSwept(t *testing.T) {
	for id := range 2 {
		r := runRegion(small(), id)
		if sum(r.tally.total().Orphans) == 0 {
			t.Errorf("region %d: no orphan was swept", id)
		}
		for i := range r.docs {
			if d := &r.docs[i]; d.orphan && d.pinned && d.dead != 0 {
				t.Fatalf("region %d: document %d is an orphan at the end", id, i)
			}
		}
	}
}

func TestTheDeploymentIsAsLargeAsItSays(t *testing.T) {
	d := small()
	d.Live = 20_000
	for _, id := range []int{2, 3} {
		r := newRegion(d, newCatalogue(d), id)
		began := r.Pinned
		r.run()
		for _, pinned := range []int64{began, r.Pinned - int64(float64(r.Unpinned)/r.Window.Seconds()*grace.Seconds())} {
			if pinned < 19_500 || pinned > 20_500 {
				t.Errorf("region %d: %d live documents, expected about %d", id, pinned, d.Live)
			}
		}
	}
}

func TestASeedRepeatsTheSimulation(t *testing.T) {
	a, b := simulate(small()), simulate(small())
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed had another outcome")
	}
	other := small()
	other.Seed++
	if reflect.DeepEqual(a.Tally, simulate(other).Tally) {
		t.Error("another seed had the same outcome")
	}
}

func outage() Outage {
	return Outage{Nodes: 1000, Held: 500, Share: 50, Reads: 20_000, Writes: 10_000, Distance: farthest, Workers: paceMost, Most: 10 * time.Minute, Seed: 1}
}

func TestARegistryThatComesBackHeals(t *testing.T) {
	for _, distance := range []time.Duration{10 * time.Millisecond, farthest} {
		o := outage()
		o.Distance = distance
		h := heal(o)
		least := time.Duration(float64(o.Nodes*o.Held) / o.Writes * float64(time.Second))
		if h.All < least || h.All > 2*least || h.LeasesLost > 0 {
			t.Errorf("distance %s: all pins validated after %s, expected %s to twice that; %d leases lost", distance, h.All, least, h.LeasesLost)
		}
		if h.Half == 0 || h.Half > h.Nearly || h.Nearly > h.All {
			t.Errorf("half after %s, nearly all after %s, all after %s", h.Half, h.Nearly, h.All)
		}
	}
}

// Why a node's pace depends on answers: this is what happened before.
func TestARegistryThatIsAskedTooMuchAtOnceNeverHeals(t *testing.T) {
	o := outage()
	o.Fixed, o.Most = true, 2*time.Minute
	if h := heal(o); h.All != 0 || h.LeasesLost == 0 {
		t.Errorf("healed after %s with %d leases lost again", h.All, h.LeasesLost)
	}
}

// The rules are copies. Whoever changes a default is told to run the task again.
func TestRulesAreTheProducts(t *testing.T) {
	for file, lines := range map[string][]string{
		"kvpin/config.go": {
			"&c.Grace, 10*time.Second", "&c.LeaseTTL, 10*time.Second", "&c.RenewEvery, c.LeaseTTL*3/10", "&c.Backstop, 4*time.Hour",
			"&c.Timeout, 800*time.Millisecond", "&c.SweepAfter, max(30*time.Second", "&c.SweepEvery, time.Hour",
		},
		"kvpin/hold.go":           {"half := h.ps.cfg.Backstop / 2", "half*3/4 + mathrand.N(half/4)"},
		"kvpin/answers.go":        {"const silenceLife = time.Second"},
		"kvpin/pace.go":           {"paceFirst = 4", "paceMost = 64"},
		"kvpin/kv/watch.go":       {"watchHinted   = 5 * time.Second"},
		"kvpin/kv/bucket.go":      {"maxWatches = 100_000"},
		"relay/live/documents.go": {"const releaseDelay = 3 * time.Second"},
		"relay/node.go":           {"cfg.SweepEvery = 10 * time.Minute", "cfg.Grace = 10 * time.Second"},
		"relay/room/rooms.go":     {"c.BeaconEvery, 5*time.Second", "c.BatchWindow, 50*time.Millisecond"},
	} {
		source, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(source), line) {
				t.Errorf("%s has no %q any more: change rules.go and run the task scale", file, line)
			}
		}
	}
}
