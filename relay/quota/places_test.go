package quota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
)

var testApp = docid.AppID{License: "aws-eu-west-1", Tenant: "acme", App: "notes"}

func testDoc(name string) docid.Document {
	return docid.Document{License: testApp.License, Tenant: testApp.Tenant, App: testApp.App, Name: name}
}

// fleet is some nodes over two regions that share a registry.
type fleet struct {
	t      *testing.T
	bucket *fakeBucket
	nodes  []*fleetNode
}

type fleetNode struct {
	*Places
	registry *fakeNode
	region   string
	shared   [3]Connection // of which some clients come via one
}

// via is a random client's connection.
func (n *fleetNode) via(r *rand.Rand) *Connection {
	if i := r.IntN(2 * len(n.shared)); i < len(n.shared) {
		return &n.shared[i]
	}
	return nil
}

func newFleet(t *testing.T, bucket *fakeBucket, n int) *fleet {
	f := &fleet{t: t, bucket: bucket}
	for i := range n {
		f.nodes = append(f.nodes, f.start("n"+strconv.Itoa(i), []string{"eu", "us"}[i%2]))
	}
	return f
}

func (f *fleet) start(node, region string) *fleetNode {
	registry := f.bucket.join(node)
	return &fleetNode{
		Places:   NewPlaces(PlacesConfig{Node: node, Region: region, Registry: registry}),
		registry: registry, region: region,
	}
}

func (f *fleet) close() {
	for _, n := range f.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = n.Close(ctx)
		cancel()
	}
}

// race has everybody want a place at once and returns the places, and checks that
// refusals say that the limit is exceeded.
func (f *fleet) race(n int, plan Plan, doc func(i int) string) (places []*Place) {
	f.t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range n {
		node := f.nodes[i%len(f.nodes)]
		wait.Go(func() {
			place, err := node.Admit(context.Background(), testDoc(doc(i)), plan, nil)
			mu.Lock()
			defer mu.Unlock()
			var exceeded *ExceededError
			switch {
			case err == nil:
				places = append(places, place)
			case !errors.As(err, &exceeded):
				f.t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	return places
}

func leaveAll(places []*Place) {
	for _, p := range places {
		p.Leave()
	}
}

func TestLastPlaceGoesToExactlyOneOfTen(t *testing.T) {
	one := func(int) string { return "d" }
	own := func(i int) string { return "d" + strconv.Itoa(i) }
	for name, c := range map[string]struct {
		plan  Plan
		doc   func(int) string
		nodes int
		want  int
	}{
		"connections":        {Plan{MaxConnections: 1}, one, 4, 1},
		"connections, of 3":  {Plan{MaxConnections: 3}, own, 4, 3},
		"documents":          {Plan{MaxDocuments: 1}, own, 4, 1},
		"documents, shared":  {Plan{MaxDocuments: 1}, one, 4, 10},
		"documents, of 4":    {Plan{MaxDocuments: 4}, own, 4, 4},
		"users, per region":  {Plan{MaxUsersPerDoc: 1}, one, 4, 2}, // a document is in one region only; this test has it in two
		"users, of 3":        {Plan{MaxUsersPerDoc: 3}, one, 1, 3},
		"users, other docs":  {Plan{MaxUsersPerDoc: 1}, own, 4, 10},
		"all at once":        {Plan{MaxConnections: 5, MaxDocuments: 3, MaxUsersPerDoc: 9}, own, 4, 3},
		"nothing is limited": {Plan{}, own, 4, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bucket := newFakeBucket(1)
				bucket.latency = 3 * time.Millisecond
				f := newFleet(t, bucket, c.nodes)
				defer f.close()
				for round := range 60 {
					places := f.race(10, c.plan, c.doc)
					if len(places) != c.want {
						t.Fatalf("round %d: %d got in, want %d", round, len(places), c.want)
					}
					leaveAll(places)
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
}

func TestFarFromItsLimitsAnAppCostsFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newFakeBucket(1)
		f := newFleet(t, bucket, 4)
		defer f.close()
		plan := Plan{MaxConnections: 10000, MaxDocuments: 5000, MaxUsersPerDoc: 200}
		var places []*Place
		for i := range 1000 {
			place, err := f.nodes[i%4].Admit(t.Context(), testDoc("d"+strconv.Itoa(i%300)), plan, nil)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, place)
		}
		before, _ := bucket.requests()
		if before > 40 {
			t.Errorf("1000 sessions cost %d writes", before)
		}
		for i := range 1000 { // they come and go
			places[i].Leave()
			place, err := f.nodes[(i+1)%4].Admit(t.Context(), testDoc("d"+strconv.Itoa(i%300)), plan, nil)
			if err != nil {
				t.Fatal(err)
			}
			places[i] = place
		}
		if after, _ := bucket.requests(); after-before > 40 {
			t.Errorf("1000 reconnects cost %d writes", after-before)
		}
		leaveAll(places)
	})
}

func TestAppWithoutLimitsCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newFakeBucket(1)
		f := newFleet(t, bucket, 2)
		defer f.close()
		places := f.race(100, Plan{}, func(i int) string { return fmt.Sprint(i) })
		leaveAll(places)
		time.Sleep(10 * time.Second)
		if writes, reads := bucket.requests(); writes+reads > 0 {
			t.Errorf("%d writes and %d reads", writes, reads)
		}
	})
}

func TestSessionsOfOneConnectionTakeUpOnePlaceAmongConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newFakeBucket(1)
		bucket.latency = 3 * time.Millisecond
		f := newFleet(t, bucket, 2)
		defer f.close()
		n, plan := f.nodes[0], Plan{MaxConnections: 1, MaxUsersPerDoc: 2}
		via, other := new(Connection), new(Connection)
		var mu sync.Mutex
		var places []*Place
		var coming sync.WaitGroup
		for i := range 10 { // at once: none of them is in yet
			coming.Go(func() {
				place, err := n.Admit(t.Context(), testDoc("d"+strconv.Itoa(i/2)), plan, via)
				if err != nil {
					t.Errorf("session %d of the connection: %v", i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				places = append(places, place)
			})
		}
		coming.Wait()
		refused := func(what string, n *fleetNode, via *Connection, doc string, kind Kind) {
			t.Helper()
			_, err := n.Admit(t.Context(), testDoc(doc), plan, via)
			if exceeded := (*ExceededError)(nil); !errors.As(err, &exceeded) || exceeded.Kind != kind || exceeded.Active != plan.MaxConnections && kind == Connections {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("a third user of a document", n, via, "d0", Users)
		refused("another connection", n, other, "d9", Connections)
		refused("a connection of its own", n, nil, "d9", Connections)
		refused("another node", f.nodes[1], nil, "d9", Connections)
		for len(places) > 1 {
			places[0].Leave()
			places = places[1:]
			refused("another connection, while one session is left", n, other, "d9", Connections)
		}
		places[0].Leave()
		place, err := n.Admit(t.Context(), testDoc("d9"), plan, other)
		if err != nil {
			t.Fatalf("after the last session: %v", err)
		}
		elsewhere := testDoc("d9") // via the same connection, but another app
		elsewhere.App = "drawings"
		second, err := n.Admit(t.Context(), elsewhere, plan, other)
		if err != nil {
			t.Fatalf("another app: %v", err)
		}
		leaveAll([]*Place{place, second})
		if a := n.lockApp(testApp); a.connections != 0 || len(a.shared) != 0 || len(a.documents) != 0 {
			t.Errorf("%d connections, %d shared, %d documents are left", a.connections, len(a.shared), len(a.documents))
			a.mu.Unlock()
		} else {
			a.mu.Unlock()
		}
	})
}
