package reach

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// RegionRow is a region as the registries know it.
type RegionRow struct {
	Region     docid.Region          `json:"region"`
	URL        string                `json:"url"`
	Status     kvpin.RegionStatus    `json:"status"`
	Nodes      int                   `json:"nodes"`     // with a lease
	Evacuated  bool                  `json:"evacuated"` // marked: no document begins there
	Registries []docid.LicenseRegion `json:"registries"`
	// Differs holds the URLs of registries that have another one: clients are then
	// sent to different places.
	Differs map[docid.LicenseRegion]string `json:"differs,omitempty"`
}

// Regions joins what the registries say.
func (r *Registries) Regions(ctx context.Context) ([]RegionRow, error) {
	rows := map[docid.Region]*RegionRow{}
	nodes := map[docid.Region]map[docid.NodeID]bool{}
	leases, err := r.Leases(ctx)
	errs := []error{err}
	for _, some := range leases {
		for _, l := range some {
			if nodes[l.Region] == nil {
				nodes[l.Region] = map[docid.NodeID]bool{}
			}
			nodes[l.Region][l.Node] = true
		}
	}
	for _, license := range r.Licenses() {
		i, err := r.Inspector(license)
		if err != nil {
			continue // in err already
		}
		infos, err := i.Regions(ctx, license)
		errs = append(errs, err)
		for _, info := range infos {
			row := rows[info.Region]
			if row == nil {
				row = &RegionRow{Region: info.Region, URL: info.URL, Status: kvpin.RegionDown, Nodes: len(nodes[info.Region])}
				rows[info.Region] = row
			}
			if info.URL != row.URL {
				if row.Differs == nil {
					row.Differs = map[docid.LicenseRegion]string{}
				}
				row.Differs[license] = info.URL
			}
			row.Evacuated = row.Evacuated || info.Evacuated
			if info.Status == kvpin.RegionLive || row.Status == kvpin.RegionDown {
				row.Status = info.Status
			}
			row.Registries = append(row.Registries, license)
		}
	}
	list := make([]RegionRow, 0, len(rows))
	for _, region := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, *rows[region])
	}
	return list, errors.Join(errs...)
}
