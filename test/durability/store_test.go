package durability

import (
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/file"
	"github.com/wsnode/wsnode/test/natstest"
)

// Type, leave, come back: in the region where it was typed, and in the other one.
func TestADocumentIsThereBetweenItsLastUserAndTheNextOne(t *testing.T) {
	i := natstest.Server(t)
	s, err := file.Open(t.Context(), file.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	in := func(region docid.Region) func(*relay.Options) {
		return func(o *relay.Options) {
			o.Config.Region = region
			o.Stores = map[docid.LicenseRegion]storage.Store{license: s}
		}
	}
	a, b := startOptions(t, i, "a", in("eu-central-1")), startOptions(t, i, "b", in("us-east-1"))
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "stays"}
	free := func() {
		waitFor(t, patience, func() (bool, string) {
			_, state, err := a.Lookup(t.Context(), doc)
			return err == nil && state == kvpin.Free, "the pin is " + state.String()
		})
	}
	first := dial(t, a.url, doc.Name, "")
	first.typeText("before")
	other := dial(t, a.url, doc.Name, "")
	other.waitHas(first)
	first.leave()
	other.leave()
	free()
	for _, p := range []*pod{a, b} {
		again := dial(t, p.url, doc.Name, "")
		again.waitHas(first)
		again.leave()
		free()
	}
}
