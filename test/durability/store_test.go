package durability

import (
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/file"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
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

// The store is away while an author types: it is told when the store has what it typed.
func TestWhereSavedMeansStoredAuthorsAreToldOfTheStore(t *testing.T) {
	s := &storagetest.Faulty{Store: storagetest.NewMemory()}
	p := startOptions(t, natstest.Server(t), "a", func(o *relay.Options) {
		o.Stores = map[docid.LicenseRegion]storage.Store{license: s}
		o.Config.Apps = func(docid.AppID) apps.Settings { return apps.Settings{Ack: apps.AckStored} }
	})
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "stored"}
	c := dial(t, p.url, doc.Name, "")
	s.Set(storagetest.Down)
	c.typeText("typed while the store is away")
	c.askSaved()
	waitFor(t, patience, func() (bool, string) {
		return s.Happened(storagetest.Down) >= 2, "the store is not tried again"
	})
	if told := c.told(); told != 0 {
		t.Fatalf("the author was told that %d characters are saved", told)
	}
	s.Set(storagetest.None)
	c.wait("be told that all is saved", func() bool { return c.saves.told == c.author.clock })
	stored, err := s.Load(t.Context(), doc, nil)
	if err != nil {
		t.Fatal(err)
	}
	if has := holds(t, stored.Body, c.author.client); has != c.author.clock {
		t.Errorf("the author was told that %d characters are saved, the store has %d", c.author.clock, has)
	}
	c.leave()
}
