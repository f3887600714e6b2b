package relay

import (
	"context"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/docname"
)

// registry opens what another node knows of the pins. Closing it gives its lease
// back, and leaves the documents that it held as a crash does.
func (w *world) registry(region kvpin.Region, id kvpin.NodeID) *kvpin.Registry {
	w.t.Helper()
	r, err := kvpin.Open(w.t.Context(), kvpin.Config{
		Region: region, Node: id, URL: "ws://" + string(region) + ".example", Grace: time.Second,
		Registries: map[docname.LicenseRegion]kvpin.Source{license: {URL: w.nats.URL, Create: true}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.close(r) })
	return r
}

func (w *world) close(r *kvpin.Registry) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// eventually waits for what offers no event.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func TestDiscoverySendsNobodyToARegionThatIsGone(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	crashes, stays := w.registry("us-east-1", "b"), w.registry("us-east-1", "c")
	token := w.token(authn.Subject{})
	doc := docname.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
	hold := func() bool { _, err := crashes.Hold(t.Context(), doc); return err == nil }
	eventually(t, "a node of the other region has the document", hold)
	there := discovered{"us-east-1", "ws://us-east-1.example/todo", false}
	if got := discover(t, n, token, "todo"); got != there {
		t.Errorf("it is live there: %+v", got)
	}
	w.close(crashes)
	orphaned := func() bool {
		_, state, err := n.cfg.Registry.Lookup(t.Context(), doc)
		return err == nil && state == kvpin.Orphaned
	}
	eventually(t, "the document is an orphan", orphaned)
	if got := discover(t, n, token, "todo"); got != there {
		t.Errorf("the region has another node that may have it: %+v", got)
	}
	w.close(stays)
	here := discovered{"eu-central-1", "ws://eu-central-1.example/todo", true}
	eventually(t, "clients are sent to a region that is there", func() bool { return discover(t, n, token, "todo") == here })
	if !orphaned() {
		t.Error("the document is an orphan no more: this shows nothing")
	}
}
