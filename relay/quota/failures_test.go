package quota

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// alone admits one session and wants an outcome: nil, ErrUnavailable or a kind of
// limit.
func (n *fleetNode) alone(t *testing.T, doc string, plan Plan, want any) *Place {
	t.Helper()
	place, err := n.Admit(context.Background(), testDoc(doc), plan, nil)
	var exceeded *ExceededError
	switch want := want.(type) {
	case nil:
		if err != nil {
			t.Fatalf("%s to %s: %v", n.registry.node, doc, err)
		}
	case Kind:
		if !errors.As(err, &exceeded) || exceeded.Kind != want {
			t.Fatalf("%s to %s: %v, want %v", n.registry.node, doc, err, want)
		}
	case error:
		if !errors.Is(err, want) {
			t.Fatalf("%s to %s: %v, want %v", n.registry.node, doc, err, want)
		}
	}
	return place
}

func inFleet(t *testing.T, nodes int, f func(t *testing.T, f *fleet)) {
	synctest.Test(t, func(t *testing.T) {
		bucket := newFakeBucket(1)
		bucket.latency = 2 * time.Millisecond
		fleet := newFleet(t, bucket, nodes)
		defer fleet.close()
		f(t, fleet)
	})
}

func TestPlacesOfADeadNodeAreFreeWhenItsLeaseEnds(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 4, MaxDocuments: 4, MaxUsersPerDoc: 4}
		for i := range 4 {
			f.nodes[0].alone(t, "d"+strconv.Itoa(i), plan, nil)
		}
		f.nodes[1].alone(t, "x", plan, Connections)
		f.nodes[0].registry.die()
		time.Sleep(5 * time.Second)
		f.nodes[1].alone(t, "x", plan, Connections)
		f.nodes[0].registry.endLease()
		for i := range 4 {
			f.nodes[1].alone(t, "e"+strconv.Itoa(i), plan, nil)
		}
	})
}

func TestDocumentOnADeadAndALivingNodeStillCounts(t *testing.T) {
	inFleet(t, 4, func(t *testing.T, f *fleet) {
		plan := Plan{MaxDocuments: 2}
		f.nodes[0].alone(t, "shared", plan, nil)
		f.nodes[1].alone(t, "shared", plan, nil)
		f.nodes[0].alone(t, "other", plan, nil)
		f.nodes[2].alone(t, "third", plan, Documents)
		f.nodes[0].registry.die()
		f.nodes[0].registry.endLease()
		f.nodes[2].alone(t, "third", plan, nil)
		f.nodes[3].alone(t, "fourth", plan, Documents)
		f.nodes[3].alone(t, "shared", plan, nil)
	})
}

func TestWithoutTheRegistryOnlyReservedPlacesAreGiven(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		n := f.nodes[0]
		plan := Plan{MaxConnections: 100}
		n.alone(t, "d", plan, nil)
		n.registry.setCut(true)
		given := 0
		for {
			began := time.Now()
			_, err := n.Admit(t.Context(), testDoc("d"), plan, nil)
			if err == nil {
				given++
				continue
			}
			if !errors.Is(err, ErrUnavailable) || time.Since(began) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			break
		}
		if given == 0 || given > 30 {
			t.Errorf("%d given from what was reserved", given)
		}
		n.alone(t, "d", Plan{}, nil) // nobody limits this one
		n.registry.endLease()
		began := time.Now()
		n.alone(t, "d", plan, ErrUnavailable)
		if s := n.Stats(); s.Apps != 1 || s.Limited != 1 || s.Unavailable != 2 || s.Writes == 0 {
			t.Errorf("stats: %+v", s)
		}
		if time.Since(began) > 0 {
			t.Error("waited though there is no lease")
		}
		n.registry.setCut(false)
		n.registry.renewLease(2)
		n.alone(t, "d", plan, nil)
	})
}

func TestSessionsStayWhenALeaseIsLostAndCountAgainAfterwards(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 3}
		for range 3 {
			f.nodes[0].alone(t, "d", plan, nil)
		}
		f.nodes[0].registry.endLease()
		place := f.nodes[1].alone(t, "d", plan, nil) // nobody is evicted for it
		f.nodes[0].registry.renewLease(2)
		time.Sleep(3 * time.Second)
		f.nodes[1].alone(t, "d", plan, Connections)
		place.Leave()
		time.Sleep(time.Second)
		f.nodes[1].alone(t, "d", plan, Connections)
	})
}

func TestWhoDoesNotAnswerIsNotGuessed(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 100}
		f.nodes[0].alone(t, "d", plan, nil) // reserves a block
		f.nodes[0].registry.setCut(true)
		for {
			if _, err := f.nodes[1].Admit(t.Context(), testDoc("d"), plan, nil); err != nil {
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v while the other node might have places left", err)
				}
				break
			}
		}
		f.nodes[0].registry.endLease()
		f.nodes[1].alone(t, "d", plan, nil)
	})
}

func TestEachHandshakeIsJudgedByItsOwnToken(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		for i := range 6 {
			f.nodes[i%2].alone(t, "d", Plan{MaxConnections: 100}, nil)
		}
		f.nodes[0].alone(t, "d", Plan{MaxConnections: 6}, Connections)
		f.nodes[1].alone(t, "d", Plan{MaxConnections: 5}, Connections)
		f.nodes[1].alone(t, "d", Plan{MaxConnections: 7}, nil)
		f.nodes[0].alone(t, "d", Plan{MaxConnections: 7}, Connections)
		f.nodes[0].alone(t, "d", Plan{}, nil)
		f.nodes[0].alone(t, "d", Plan{MaxConnections: 100}, nil)
	})
}

func TestUnlimitedSessionsCountWhereTheLimitIsKnown(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		for i := range 5 {
			f.nodes[0].alone(t, "d"+strconv.Itoa(i), Plan{}, nil)
		}
		plan := Plan{MaxConnections: 6, MaxDocuments: 9}
		f.nodes[0].alone(t, "d0", plan, nil)
		f.nodes[1].alone(t, "d0", plan, Connections)
		f.nodes[0].alone(t, "d0", Plan{}, nil)
		time.Sleep(time.Second)
		f.nodes[1].alone(t, "d0", Plan{MaxConnections: 7}, Connections)
		f.nodes[1].alone(t, "d0", Plan{MaxConnections: 8}, nil)
	})
}

func TestCeilingHoldsWhateverTheTokenSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newFakeBucket(1).join("n")
		n := NewPlaces(PlacesConfig{Node: "n", Region: "eu", Registry: registry, Ceilings: Plan{MaxConnections: 2}})
		defer func() { _ = n.Close(t.Context()) }()
		node := &fleetNode{Places: n, registry: registry}
		node.alone(t, "d", Plan{}, nil)
		node.alone(t, "d", Plan{MaxConnections: 50}, nil)
		node.alone(t, "d", Plan{MaxConnections: 50}, Connections)
		node.alone(t, "d", Plan{}, Connections)
	})
}

func TestRefusedClientsCostFewRequests(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 1, MaxDocuments: 1, MaxUsersPerDoc: 1}
		f.nodes[0].alone(t, "d", plan, nil)
		f.nodes[1].alone(t, "d", plan, Connections)
		writes, reads := f.bucket.requests()
		for range 1000 {
			f.nodes[1].alone(t, "d", plan, Connections)
			time.Sleep(10 * time.Millisecond)
		}
		w, r := f.bucket.requests()
		writes, reads = w-writes, r-reads
		if writes > 3 || reads > 120 {
			t.Errorf("1000 refusals in 10 s cost %d writes and %d reads", writes, reads)
		}
	})
}

func TestNothingIsLeftWhenEverybodyHasGone(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 30, MaxDocuments: 3, MaxUsersPerDoc: 5}
		for range 20 {
			leaveAll(f.race(30, plan, func(i int) string { return strconv.Itoa(i % 3) }))
		}
		time.Sleep(10 * time.Second)
		r := f.bucket.record(t)
		if len(r.Nodes) != 0 || len(r.documents) != 0 {
			t.Errorf("left: %+v\n%s", r, f.dump())
		}
		for _, n := range f.nodes {
			n.mu.Lock()
			if len(n.apps) != 0 {
				t.Error("a node still knows the app")
			}
			n.mu.Unlock()
		}
	})
}

func TestClosingGivesEverythingBack(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 100}
		place := f.nodes[0].alone(t, "d", plan, nil)
		place.Leave()
		place.Leave()
		if err := f.nodes[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		r := f.bucket.record(t)
		if len(r.Nodes) != 0 {
			t.Errorf("left: %+v", r.Nodes)
		}
		f.nodes[0].alone(t, "d", plan, ErrUnavailable)
	})
}

func TestWhatIsNotUsedIsGivenBackUnasked(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		plan := Plan{MaxConnections: 10000, MaxDocuments: 10000, MaxUsersPerDoc: 1000}
		var places []*Place
		for i := range 2000 {
			places = append(places, f.nodes[0].alone(t, strconv.Itoa(i), plan, nil))
		}
		leaveAll(places[1:])
		time.Sleep(5 * time.Second)
		r := f.bucket.record(t)
		if e := r.Nodes[0]; e.Connections > 1300 || e.Documents > 1300 {
			t.Errorf("still reserved: %+v", e)
		}
	})
}

func TestDocumentsBeyondTheTableCountOncePerNode(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		const many = maxListed + 10
		r := newRecord()
		r.setEntry(entry{Node: "n1", Lease: "n1/1", Region: "us", Documents: many})
		if _, err := f.bucket.write(testApp.LimitKey(appScope), r.encode(), 0); err != nil {
			t.Fatal(err)
		}
		f.nodes[0].alone(t, "x", Plan{MaxDocuments: many}, Documents)
		f.nodes[0].alone(t, "x", Plan{MaxDocuments: many + 1}, nil)
	})
}

func BenchmarkAdmit(b *testing.B) {
	for _, c := range []struct {
		name string
		plan Plan
	}{{"unlimited", Plan{}}, {"limited", Plan{100000, 100000, 1000}}} {
		b.Run(c.name, func(b *testing.B) {
			n := NewPlaces(PlacesConfig{Node: "n", Region: "eu", Registry: newFakeBucket(1).join("n")})
			defer func() { _ = n.Close(context.Background()) }()
			doc := testDoc("d")
			if _, err := n.Admit(b.Context(), doc, c.plan, nil); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				place, err := n.Admit(b.Context(), doc, c.plan, nil)
				if err != nil {
					b.Fatal(err)
				}
				place.Leave()
			}
		})
	}
}
