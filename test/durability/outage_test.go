package durability

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/natstest"
)

// The store fails when the last one leaves, and for longer than operators are to bear in
// silence: their alert's figure passes its bound, the document waits where it is, whoever
// comes finds everything, and once the store is back it has everything. For three seconds;
// for ten minutes, in every form of it, and by the bound of the alert itself, as a soak.
func TestAnOutageOfTheStoreIsToldAndLosesNothing(t *testing.T) {
	outage, bound, faults := 3*time.Second, 2.0, []storagetest.Fault{storagetest.Down, storagetest.LostReply}
	if soak() {
		outage, bound, faults = 10*time.Minute, alertBound(t, "WsnodeNotStored", "wsnode_store_oldest_seconds"), storagetest.Faults
	}
	for _, fault := range faults {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			testOutage(t, fault, outage, bound)
		})
	}
}

func testOutage(t *testing.T, fault storagetest.Fault, outage time.Duration, bound float64) {
	i := natstest.Server(t)
	s := &storagetest.Faulty{Store: storagetest.NewMemory()}
	metrics := prometheus.NewRegistry()
	in := func(region docid.Region) func(*relay.Options) {
		return func(o *relay.Options) {
			o.Config.Region = region
			o.Stores = map[docid.LicenseRegion]storage.Store{license: s}
			if region == "eu-central-1" {
				o.Registerer = metrics
			}
		}
	}
	a, b := startOptions(t, i, "a", in("eu-central-1")), startOptions(t, i, "b", in("us-east-1"))
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "waits"}

	first := dial(t, a.url, doc.Name, "")
	began := time.Now()
	s.Set(fault)
	first.typeText("typed before the last one left")
	first.leave()
	for visits := 1; ; visits++ {
		old := gauge(t, metrics, "wsnode_store_oldest_seconds")
		if took := time.Since(began); took > outage && old > bound {
			break
		} else if took > outage+patience {
			t.Fatalf("the store has been away for %v, and the oldest edit that it lacks is said to be %v s old", took, old)
		}
		if visits%20 == 1 { // the grace period passes between two of them
			again := dial(t, a.url, doc.Name, "")
			again.waitHas(first)
			again.leave()
		}
		time.Sleep(100 * time.Millisecond)
	}
	if pin, state, err := b.Lookup(t.Context(), doc); err != nil || state == kvpin.Free || pin.Region != "eu-central-1" {
		t.Errorf("after %v without its store the other region finds the document %v in %s: %v", time.Since(began), state, pin.Region, err)
	}

	s.Set(storagetest.None)
	waitFor(t, patience, func() (bool, string) {
		_, state, err := b.Lookup(t.Context(), doc)
		return err == nil && state == kvpin.Free, "the pin is " + state.String()
	})
	if old := gauge(t, metrics, "wsnode_store_oldest_seconds"); old != 0 {
		t.Errorf("all is stored, and the oldest edit that is not is said to be %v s old", old)
	}
	stored, err := s.Load(t.Context(), doc, nil)
	if err != nil {
		t.Fatal(err)
	}
	if has := holds(t, stored.Body, first.author.client); has != first.author.clock {
		t.Errorf("%d characters were typed, the store has %d", first.author.clock, has)
	}
	there := dial(t, b.url, doc.Name, "")
	there.waitHas(first)
	there.leave()
}

// gauge is the greatest value that a metric has.
func gauge(t *testing.T, from prometheus.Gatherer, name string) (value float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			value, found = max(value, m.GetGauge().GetValue()), true
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return value
}

// alertBound is above which value of a metric an alert fires, by the rules that we ship.
func alertBound(t *testing.T, alert, metric string) float64 {
	t.Helper()
	rules, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`alert: ` + alert + `\n +expr: .*\(` + metric + `\) > (\d+)\n`).FindSubmatch(rules)
	if found == nil {
		t.Fatalf("no rule %s asks for %s", alert, metric)
	}
	bound, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}
