package kvpin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// A region that is to be taken out of service is marked so in each registry. Nodes of
// the region begin no life of a document then; what lives there goes on until it ends,
// or is moved.

// ErrEvacuated is returned by Hold in a region that is marked as evacuated, for a document
// that does not live there already.
var ErrEvacuated = errors.New("no document begins to live in a region that is evacuated")

// takeEvacuated notes what the watch reports of a region's mark.
func (rs *regions) takeEvacuated(r docid.Region, marked bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if marked {
		rs.evacuated[r] = struct{}{}
	} else {
		delete(rs.evacuated, r)
	}
}

func (rs *regions) isEvacuated(r docid.Region) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	_, marked := rs.evacuated[r]
	return marked
}

// Evacuated reports whether this node's region is marked in a license region's registry, as
// far as this node has heard.
func (r *Registry) Evacuated(license docid.LicenseRegion) bool {
	b := r.buckets[license]
	return b != nil && b.regions.isEvacuated(r.cfg.Region)
}

// judged says draining for a region that is evacuated, so that nobody prefers it.
func (i RegionInfo) judged() RegionInfo {
	if i.Evacuated && i.Status == RegionLive {
		i.Status = RegionDraining
	}
	return i
}

// lookAtEvacuated reads which regions are marked.
func lookAtEvacuated(ctx context.Context, s kv.Store) (map[docid.Region]bool, error) {
	marked := make(map[docid.Region]bool)
	err := s.Scan(ctx, evacuatedPrefix+">", func(e kv.Entry) error {
		if e.Present {
			marked[docid.Region(strings.TrimPrefix(e.Key, evacuatedPrefix))] = true
		}
		return nil
	})
	return marked, err
}

// SetEvacuated marks a region as evacuated in a registry, or takes the mark away. Nodes
// see it within a moment. It reports whether that changed anything.
func (i *Inspector) SetEvacuated(ctx context.Context, license docid.LicenseRegion, region docid.Region, evacuated bool) (changed bool, err error) {
	s, err := i.store(license)
	if err != nil {
		return false, err
	}
	key := evacuatedPrefix + string(region)
	e, err := s.Get(ctx, key)
	switch {
	case err != nil || e.Present == evacuated:
	case evacuated:
		_, err = s.Put(ctx, key, []byte(time.Now().UTC().Format(time.RFC3339)), e.Revision, 0)
	default:
		err = s.Delete(ctx, key, e.Revision)
	}
	if err != nil {
		return false, fmt.Errorf("mark region %s in %s: %w", region, license, err)
	}
	return e.Present != evacuated, nil
}
