package kvpin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

func TestARegistryNamesOneStore(t *testing.T) {
	worlds(t, func(w *world) {
		ctx := context.Background()
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		if id, err := a.StoreID(ctx, testLicense); err != nil || id != "" {
			w.t.Fatalf("a new registry names the store %q, %v", id, err)
		}
		var wait sync.WaitGroup
		named := make([]string, 2)
		for i, n := range []*testNode{a, b} {
			wait.Go(func() {
				var err error
				if named[i], err = n.NameStore(ctx, testLicense, "store-of-"+string(n.cfg.Node)); err != nil {
					w.t.Error(err)
				}
			})
		}
		wait.Wait()
		if named[0] != named[1] || !strings.HasPrefix(named[0], "store-of-") {
			w.t.Errorf("two nodes named the stores %q", named)
		}
		if id, err := b.NameStore(ctx, testLicense, "another"); err != nil || id != named[0] {
			w.t.Errorf("a store that was named became %q, %v", id, err)
		}
		if id, err := b.StoreID(ctx, testLicense); err != nil || id != named[0] {
			w.t.Errorf("the registry names %q, %v", id, err)
		}
		if _, err := b.Keys(testLicense).Update(ctx, storeIDKey, []byte("mine"), 0, 0); err == nil {
			w.t.Error("others may write where the store's id is")
		}
	})
}

func TestARegistryIsUnusedUntilADocumentIsPinned(t *testing.T) {
	worlds(t, func(w *world) {
		a := w.node("eu-central-1", "a")
		if unused, err := a.Unused(context.Background(), testLicense); err != nil || !unused {
			w.t.Errorf("a new registry is unused: %v, %v", unused, err)
		}
		a.hold(testDoc("x"))
		if unused, err := a.Unused(context.Background(), testLicense); err != nil || unused {
			w.t.Errorf("one with a pin is unused: %v, %v", unused, err)
		}
	})
}

func TestOperatorsChangeTheStoreThatTheyKnow(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		ctx := context.Background()
		w.node("eu-central-1", "a")
		i := &Inspector{stores: map[docid.LicenseRegion]kv.Store{testLicense: w.bucket.Link()}}
		for _, step := range []struct{ before, id, then string }{{"", "one", "one"}, {"", "two", "one"}, {"one", "two", "two"}, {"two", "", ""}, {"", "three", "three"}} {
			err := i.NameStore(ctx, testLicense, step.before, step.id)
			if step.then == step.id && err != nil || step.then != step.id && !errors.Is(err, ErrConflict) {
				w.t.Errorf("%+v: %v", step, err)
			}
			if id, err := i.StoreID(ctx, testLicense); id != step.then || err != nil {
				w.t.Errorf("%+v: it is %q, %v", step, id, err)
			}
		}
	})
}

// A region that is given a store gets it node by node; one in which a node comes
// without is a mistake of that node.
func TestANodeWithoutTheStoreIsAStrangerWhereOthersHaveIt(t *testing.T) {
	stores := func(id string) func(*Config) {
		return func(c *Config) {
			c.About = func() About { return About{Cluster: "eu"} }
			c.Store = func(docid.LicenseRegion) string { return id }
		}
	}
	inVirtualTime(t, func(w *world) {
		before := w.node("eu-central-1", "before", stores(NoStore))
		time.Sleep(time.Second)
		first := w.node("eu-central-1", "first", stores("A"))
		time.Sleep(time.Second)
		forgot := w.node("eu-central-1", "forgot", stores(NoStore))
		other := w.node("eu-central-1", "other", stores("B"))
		time.Sleep(2 * worldLeaseTTL)
		for node, expected := range map[*testNode]string{
			before: "", first: "", forgot: "first", other: "first",
		} {
			var earlier []string
			for _, s := range node.Strangers() {
				if s.Earlier {
					earlier = append(earlier, string(s.Node))
				}
			}
			if got := strings.Join(earlier, " "); got != expected {
				w.t.Errorf("node %s does not belong together with %q, expected %q: %+v", node.cfg.Node, got, expected, node.Strangers())
			}
		}
	})
}
