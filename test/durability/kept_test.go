package durability

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/stores"
)

// holds returns how many characters of an author are in a body; 0 if there is none.
func holds(t *testing.T, body []byte, client uint64) uint64 {
	t.Helper()
	if len(body) == 0 {
		return 0
	}
	s := ystore.New(ystore.Limits{})
	if _, err := s.Apply(body); err != nil {
		t.Fatal(err)
	}
	return known(s.StateVector(), client)
}

// All nodes are killed between the history's acknowledgement and the store. No author
// returns; in the long form nobody else comes either, and the region finds the documents
// by itself.
func TestWhatWasToldIsStoredByTheNodesThatComeAfterTheDead(t *testing.T) {
	t.Parallel()
	documents, edits := 20, 50
	if soak() {
		documents, edits = 100, 100
	}
	backend := new(stores.Backend)
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	keys := issuer.New(t)
	token := keys.Token(nil)
	region := cluster.StartNATSServers(t, 1)[0]
	start := func(round int) (nodes []*cluster.Node) {
		for i := range 2 {
			nodes = append(nodes, cluster.Serve{
				Name: fmt.Sprintf("node-%d-%d", round, i), Region: "eu-central-1", NATS: region.URL, JWKS: keys.JWKS,
				Flags: []string{"--admin-listen", "off", "--lease", "2s", "--grace", "1s", "--store", server.URL + "/{dbCode}/{tenantId}/{appId}/{document}"},
			}.StartHealthy(t))
		}
		return nodes
	}
	nodes := start(0)
	authors := make([]*client, documents)
	for d := range authors {
		authors[d] = dial(t, nodes[d%2].WS(), documentName(d), token)
	}
	backend.Fail(true)
	for _, c := range authors {
		for range edits {
			c.typeText("x")
		}
		c.askSaved()
	}
	for _, c := range authors {
		c.wait("be told that all is saved", func() bool { return c.saves.told == uint64(edits) })
	}
	for _, n := range nodes {
		n.Kill()
	}
	lost := map[string]uint64{} // by path in the store, with the author
	for d, c := range authors {
		c.leave()
		lost["/"+path.Join(license, "acme", "notes", documentName(d))] = c.author.client
	}
	backend.Fail(false)
	nodes = start(1)
	if !soak() { // somebody comes and leaves, so that nobody waits for the region to look
		for d := range authors {
			dial(t, nodes[d%2].WS(), documentName(d), token).leave()
		}
	}
	waitFor(t, patience, func() (bool, string) {
		bodies := backend.Bodies()
		maps.DeleteFunc(lost, func(path string, author uint64) bool { return holds(t, bodies[path], author) == uint64(edits) })
		return len(lost) == 0, fmt.Sprintf("of %d documents with %d edits each %d are not stored", documents, edits, len(lost))
	})
	t.Logf("%d of %d edits are stored", documents*edits, documents*edits)
}

// saved counts the saves that succeeded.
type saved struct {
	storage.Store
	mu sync.Mutex
	of map[string]int
}

func (s *saved) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	v, err := s.Store.Save(ctx, d, expect, m, body)
	if err == nil {
		s.mu.Lock()
		s.of[d.Name]++
		s.mu.Unlock()
	}
	return v, err
}

// resting has documents stored when they are left only.
func resting(s storage.Store) func(*relay.Options) {
	return func(o *relay.Options) {
		o.Stores = map[docid.LicenseRegion]storage.Store{license: s}
		o.Config.StoreFirst, o.Config.StoreInterval = time.Hour, time.Hour
	}
}

// waitStored waits until all documents are stored with what their authors typed.
func waitStored(t *testing.T, s storage.Store, authors [][]author) {
	t.Helper()
	waitFor(t, patience, func() (bool, string) {
		for d, all := range authors {
			doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: documentName(d)}
			stored, err := s.Load(t.Context(), doc, nil)
			if err != nil {
				return false, fmt.Sprintf("%s: %v", doc, err)
			}
			for _, a := range all {
				if n := holds(t, stored.Body, a.client); n != a.clock {
					return false, fmt.Sprintf("%s: %d of %d characters are stored", doc, n, a.clock)
				}
			}
		}
		return true, ""
	})
}

// Each of the two may take the other for the one who stores.
func TestWhenTheLastTwoLeaveAtOnceOneOfThemStores(t *testing.T) {
	t.Parallel()
	documents := 40
	if soak() {
		documents = 200
	}
	i := natstest.Server(t)
	s := &saved{Store: storagetest.NewMemory(), of: map[string]int{}}
	a, b := startOptions(t, i, "a", resting(s)), startOptions(t, i, "b", resting(s))
	pairs := make([][2]*client, documents)
	authors := make([][]author, documents)
	for d := range pairs {
		one, two := dial(t, a.url, documentName(d), ""), dial(t, b.url, documentName(d), "")
		one.typeText("one")
		two.typeText("two")
		pairs[d] = [2]*client{one, two}
		authors[d] = []author{one.author, two.author}
	}
	for _, p := range pairs {
		p[0].waitHas(p[1])
		p[1].waitHas(p[0])
	}
	now := make(chan struct{})
	var leaving sync.WaitGroup
	for _, p := range pairs {
		for _, c := range p {
			leaving.Go(func() { <-now; c.leave() })
		}
	}
	close(now)
	leaving.Wait()
	waitStored(t, s, authors)
	waitFor(t, patience, func() (bool, string) { // then nobody stores any more
		for d := range documents {
			doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: documentName(d)}
			if _, state, err := a.Lookup(t.Context(), doc); err != nil || state != kvpin.Free {
				return false, fmt.Sprintf("%s is pinned: %s, %v", doc, state, err)
			}
		}
		return true, ""
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	times := map[int]int{}
	for d := range documents {
		n := s.of[documentName(d)]
		times[n]++
		if soak() && n > 2 { // with the machine to itself
			t.Errorf("%s was stored %d times", documentName(d), n)
		}
	}
	t.Logf("how many documents were stored how often: %v", times)
}

// A node that ends stores what it can; what it cannot the region does.
func TestANodeThatEndsLeavesNothingUnstored(t *testing.T) {
	t.Parallel()
	documents := 40
	if soak() {
		documents = 200
	}
	for _, fault := range []storagetest.Fault{storagetest.Slow, storagetest.Down} {
		t.Run(string(fault), func(t *testing.T) {
			i := natstest.Server(t)
			s := &storagetest.Faulty{Store: storagetest.NewMemory(), Delay: 50 * time.Millisecond}
			a := startOptions(t, i, "a", resting(s))
			startOptions(t, i, "b", resting(s))
			clients := make([]*client, documents)
			authors := make([][]author, documents)
			for d := range clients {
				clients[d] = dial(t, a.url, documentName(d), "")
				clients[d].typeText("typed before the node ends")
				clients[d].askSaved()
				authors[d] = []author{clients[d].author}
			}
			for _, c := range clients {
				c.wait("be told that all is saved", func() bool { return c.saves.told == c.author.clock })
			}
			s.Set(fault)
			a.close()
			s.Set(storagetest.None)
			waitStored(t, s.Store, authors)
			for _, c := range clients {
				c.leave()
			}
		})
	}
}
