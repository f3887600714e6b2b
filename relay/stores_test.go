package relay

import (
	"errors"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

func TestANodeBelievesOnlyAStoreWithTheMarkerOfItsLicenseRegion(t *testing.T) {
	s := storagetest.NewMemory()
	of := map[docid.LicenseRegion]storage.Store{license: s}
	if _, err := identify(t.Context(), of); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("a store without a marker: %v", err)
	}
	id := storage.Identity{ID: storage.NewStoreID(), License: license, KeyFormat: storage.KeyFormat}
	if err := storage.Init(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	found, err := identify(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	if got, gotID := found.of(license); got != s || gotID != id.ID {
		t.Errorf("got %v, %s; expected %v, %s", got, gotID, s, id.ID)
	}
	if got, _ := found.of("aws-us-east-1"); got != nil {
		t.Errorf("another license region has %v", got)
	}
	if _, err := identify(t.Context(), map[docid.LicenseRegion]storage.Store{"aws-us-east-1": s}); err == nil {
		t.Error("the store of another license region was taken")
	}
}
