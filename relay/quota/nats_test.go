package quota_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/test/natstest"
)

// node is one of several on a real registry.
type node struct {
	*quota.Places
	registry *kvpin.Registry
	exchange *quota.NATSExchange
}

const license = docid.LicenseRegion("aws-eu-west-1")

// start starts a node whose registry is at a URL.
func start(t *testing.T, url, name, region string) *node {
	t.Helper()
	registry, err := kvpin.Open(t.Context(), kvpin.Config{
		Region: docid.Region(region), Node: docid.NodeID(name), URL: "wss://" + region + ".example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: url, Create: true}},
		LeaseTTL:   2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	exchange := quota.OpenNATSExchange(registry.Conn)
	n := &node{
		Places: quota.NewPlaces(quota.PlacesConfig{
			Node: name, Region: region, Registry: quota.OnRegistry(registry), Exchange: exchange,
		}),
		registry: registry, exchange: exchange,
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = n.Close(ctx)
		exchange.Close()
		_ = registry.Close(ctx)
	})
	return n
}

func document(app, name string) docid.Document {
	return docid.Document{License: license, Tenant: "acme", App: docid.App(app), Name: name}
}

// race has n clients want a place at once.
func race(t *testing.T, nodes []*node, n int, app string, plan quota.Plan, doc func(int) string) (places []*quota.Place) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			place, err := nodes[i%len(nodes)].Admit(context.Background(), document(app, doc(i)), plan, nil)
			mu.Lock()
			defer mu.Unlock()
			var exceeded *quota.ExceededError
			switch {
			case err == nil:
				places = append(places, place)
			case !errors.As(err, &exceeded):
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	return places
}

func TestLastPlaceGoesToOneOnARealRegistry(t *testing.T) {
	server := natstest.Server(t)
	var nodes []*node
	for i := range 4 {
		nodes = append(nodes, start(t, server.URL, "n"+strconv.Itoa(i), []string{"eu-central-1", "us-east-1"}[i%2]))
	}
	own := func(i int) string { return strconv.Itoa(i) }
	same := func(int) string { return "d" }
	for _, c := range []struct {
		name  string
		plan  quota.Plan
		doc   func(int) string
		nodes []*node
		want  int
	}{
		{"connections", quota.Plan{MaxConnections: 3}, own, nodes, 3},
		{"documents", quota.Plan{MaxDocuments: 3}, own, nodes, 3},
		{"users", quota.Plan{MaxUsersPerDoc: 3}, same, []*node{nodes[0], nodes[2]}, 3},
	} {
		for round := range 70 {
			held := race(t, c.nodes, 2, c.name, c.plan, func(i int) string { return c.doc(100 + i) })
			if len(held) != 2 {
				t.Fatalf("%s, round %d: %d of the first 2 places", c.name, round, len(held))
			}
			won := race(t, c.nodes, 10, c.name, c.plan, c.doc)
			if len(won) != c.want-2 {
				t.Fatalf("%s, round %d: %d won the last place", c.name, round, len(won))
			}
			for _, place := range append(held, won...) {
				place.Leave()
			}
			settle(t, nodes[0].registry, c.name)
		}
	}
}

// settle waits until no places are reserved for an app.
func settle(t *testing.T, registry *kvpin.Registry, app string) {
	t.Helper()
	key := document(app, "").AppID().LimitKey("app")
	for range 500 {
		e, err := registry.Keys(license).Get(t.Context(), key)
		if err == nil && (e.Deleted || strings.Contains(string(e.Value), `"nodes":[]`)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("places are still reserved")
}

func TestLostNodesPlacesAreFreeWithinTheLeaseTime(t *testing.T) {
	server := natstest.Server(t)
	proxy := natstest.NewProxy(t, server.URL)
	doomed := start(t, proxy.URL, "doomed", "eu-central-1")
	other := start(t, server.URL, "other", "us-east-1")
	plan := quota.Plan{MaxConnections: 5}
	if places := race(t, []*node{doomed}, 5, "lost", plan, strconv.Itoa); len(places) != 5 {
		t.Fatalf("%d places", len(places))
	}
	if places := race(t, []*node{other}, 3, "lost", plan, strconv.Itoa); len(places) != 0 {
		t.Fatalf("%d places too many", len(places))
	}
	proxy.Cut()
	began := time.Now()
	for len(race(t, []*node{other}, 1, "lost", plan, strconv.Itoa)) == 0 {
		if time.Since(began) > 10*time.Second { // the lease, 2 s, and what a busy machine takes
			t.Fatal("the places of a lost node are not free")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if places := race(t, []*node{other}, 10, "lost", plan, strconv.Itoa); len(places) != 4 {
		t.Errorf("%d places more, want 4", len(places))
	}
}

func TestUsageIsCountedOverRegions(t *testing.T) {
	server := natstest.Server(t)
	a, b := start(t, server.URL, "a", "eu-central-1"), start(t, server.URL, "b", "us-east-1")
	watcher := start(t, server.URL, "w", "us-east-1")
	app := document("used", "").AppID()
	usage := quota.NewUsage(watcher.exchange)
	if got, err := usage.Of(t.Context(), app); err != nil || got != (quota.Counts{}) {
		t.Errorf("nobody: %+v, %v", got, err)
	}
	for i := range 20 {
		n := []*node{a, b}[i%2]
		if _, err := n.Admit(t.Context(), document("used", fmt.Sprint(i%5)), quota.Plan{MaxConnections: i % 2 * 100}, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := quota.NewUsage(watcher.exchange).Of(t.Context(), app)
	if err != nil || got != (quota.Counts{Connections: 20, Documents: 5}) {
		t.Errorf("got %+v, %v", got, err)
	}
}
