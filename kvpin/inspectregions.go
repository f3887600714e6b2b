package kvpin

import (
	"context"
	"fmt"
	"strings"

	"github.com/wsnode/wsnode/docid"
)

// Regions returns the regions that a registry knows, in no order, with the status
// that its leases say.
func (i *Inspector) Regions(ctx context.Context, license docid.LicenseRegion) ([]RegionInfo, error) {
	s, err := i.store(license)
	if err != nil {
		return nil, err
	}
	return lookAtRegions(ctx, s, unknownLife, clockOf(ctx, s))
}

// SetRegionURL writes the public URL of a region into a registry, whatever is
// there. Nodes only ever write a missing one: where clients are sent to is for
// operators to change.
func (i *Inspector) SetRegionURL(ctx context.Context, license docid.LicenseRegion, region docid.Region, url string) error {
	s, err := i.store(license)
	if err != nil {
		return err
	}
	if !docid.ValidRegion(string(region)) || strings.HasPrefix(string(region), "aws-") {
		return fmt.Errorf("region %q: expected lower-case letters, digits and '-', not beginning with aws-", region)
	}
	if err := CheckRegionURL(url); err != nil {
		return fmt.Errorf("URL of region %s: %w", region, err)
	}
	key := regionPrefix + string(region)
	e, err := s.Get(ctx, key)
	if err == nil && (!e.Present || string(e.Value) != url) {
		_, err = s.Put(ctx, key, []byte(url), e.Revision, 0)
	}
	if err != nil {
		return fmt.Errorf("set the URL of region %s in %s: %w", region, license, err)
	}
	return nil
}
