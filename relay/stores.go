package relay

import (
	"context"
	"fmt"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// stores are where documents are kept between their lives, by license region.
type stores map[docid.LicenseRegion]identified

type identified struct {
	store storage.Store
	id    string
}

// identify asks each store whose it is. One without a marker, or with that of another
// license region, is not the one that was meant: nothing that it says is believed.
func identify(ctx context.Context, of map[docid.LicenseRegion]storage.Store) (stores, error) {
	found := make(stores, len(of))
	for license, s := range of {
		id, err := storage.Identify(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("store of %s: %w", license, err)
		}
		if id.License != license {
			return nil, fmt.Errorf("store of %s: its marker says that it keeps the documents of %s", license, id.License)
		}
		found[license] = identified{s, id.ID}
	}
	return found, nil
}

func (s stores) of(license docid.LicenseRegion) (storage.Store, string) {
	found := s[license]
	return found.store, found.id
}
