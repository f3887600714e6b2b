package kvpin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// RegionInfo is one region as the registries know it.
type RegionInfo struct {
	Region docid.Region
	URL    string
	Status RegionStatus
	// Evacuated: no document begins to live there; see Inspector.SetEvacuated. Its status is
	// never live.
	Evacuated bool
}

// RegionStatus is what the leases of a region's nodes say.
type RegionStatus string

const (
	RegionLive     RegionStatus = "live"     // a node has a lease and is not draining
	RegionDraining RegionStatus = "draining" // every node that has a lease is draining
	RegionDown     RegionStatus = "down"     // no node has a lease
)

// RegionURL returns the public URL of a region: ErrNotFound if no registry has it,
// ErrUnavailable if it is not known and cannot be asked for.
func (r *Registry) RegionURL(ctx context.Context, region docid.Region) (string, error) {
	if url, ok := r.cfg.fixedURL(region); ok {
		return url, nil
	}
	licenses := r.LicenseRegions()
	for _, license := range licenses {
		if url, ok := r.buckets[license].regions.url(region); ok {
			return url, nil
		}
	}
	failed := fmt.Errorf("URL of region %s: %w", region, ErrNotFound)
	for _, license := range licenses {
		e, err := r.buckets[license].requests.get(ctx, regionPrefix+string(region))
		switch {
		case err != nil:
			failed = fmt.Errorf("URL of region %s: %w", region, err)
		case e.Present && r.buckets[license].regions.usable(region, e):
			r.buckets[license].regions.setURL(region, e)
			return string(e.Value), nil
		}
	}
	// What this region itself is to be called need not be asked.
	if region == r.cfg.Region && r.cfg.URL != "" && errors.Is(failed, ErrUnavailable) {
		return r.cfg.URL, nil
	}
	return "", failed
}

// Regions returns all regions that a registry knows, sorted by name, as they were
// at most a few seconds ago. A registry that gives no answer is left out, and what
// it said earlier stands; ErrUnavailable if none has ever answered.
func (r *Registry) Regions(ctx context.Context) ([]RegionInfo, error) {
	urls := make(map[docid.Region]string)
	status := make(map[docid.Region]RegionStatus)
	evacuated := make(map[docid.Region]bool)
	var failed error
	for _, license := range slices.Backward(r.LicenseRegions()) {
		found, err := r.buckets[license].regions.current(ctx)
		if err != nil {
			failed = err
			continue
		}
		for _, info := range found {
			if fixed, ok := r.cfg.fixedURL(info.Region); ok {
				info.URL = fixed
			} else if CheckRegionURL(info.URL) != nil {
				info.URL, _ = r.buckets[license].regions.url(info.Region)
			}
			if info.URL == "" {
				continue
			}
			urls[info.Region] = info.URL
			evacuated[info.Region] = evacuated[info.Region] || info.Evacuated
			if rank(info.Status) > rank(status[info.Region]) {
				status[info.Region] = info.Status
			}
		}
	}
	if len(urls) == 0 && failed != nil {
		return nil, fmt.Errorf("list regions: %w", failed)
	}
	infos := make([]RegionInfo, 0, len(urls))
	for _, region := range slices.Sorted(maps.Keys(urls)) {
		info := RegionInfo{Region: region, URL: urls[region], Status: status[region], Evacuated: evacuated[region]}
		infos = append(infos, info.judged())
	}
	return infos, nil
}

func rank(s RegionStatus) int {
	return slices.Index([]RegionStatus{"", RegionDown, RegionDraining, RegionLive}, s)
}

// surveyLife is how long a look at all leases serves; anybody may ask for /regions.
const surveyLife = 3 * time.Second

// survey is the last look at all regions of a registry.
type survey struct {
	turn  chan struct{} // holds one token while somebody looks
	mu    sync.Mutex
	at    time.Time
	found []RegionInfo
}

func (s *survey) last() (found []RegionInfo, fresh, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found, !s.at.IsZero() && time.Since(s.at) < surveyLife, !s.at.IsZero()
}

// current returns the last survey while it is fresh, else makes a new one. If
// that fails or somebody is at it, the last one stands.
func (rs *regions) current(ctx context.Context) ([]RegionInfo, error) {
	s := &rs.survey
	found, fresh, any := s.last()
	if fresh {
		return found, nil
	}
	if any {
		select {
		case s.turn <- struct{}{}:
		default:
			return found, nil
		}
	} else {
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
	defer func() { <-s.turn }()
	if found, fresh, _ = s.last(); fresh {
		return found, nil
	}
	next, err := rs.look(ctx)
	if err != nil && !any {
		return nil, err
	}
	if err != nil {
		next = found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.found = time.Now(), next
	return next, nil
}

func (rs *regions) look(ctx context.Context) ([]RegionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, rs.cfg.Deadline)
	defer cancel()
	return lookAtRegions(ctx, rs.requests.store, rs.cfg.LeaseTTL, rs.clock)
}

// lookAtRegions reads the regions and what the leases say about them, without those
// that are over by the bucket's clock. Those that do not say how long they last count
// for ttl.
func lookAtRegions(ctx context.Context, s kv.Store, ttl time.Duration, clock *bucketClock) ([]RegionInfo, error) {
	var infos []RegionInfo
	err := s.Scan(ctx, regionPrefix+">", func(e kv.Entry) error {
		if e.Present {
			infos = append(infos, RegionInfo{Region: docid.Region(strings.TrimPrefix(e.Key, regionPrefix)), URL: string(e.Value), Status: RegionDown})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	best := make(map[docid.Region]RegionStatus)
	err = s.Scan(ctx, leasePrefix+">", func(e kv.Entry) error {
		if record, err := decodeLease(e); e.Present && err == nil && !record.Left && !record.ended(e, ttl, clock.now()) {
			status := RegionLive
			if record.Draining {
				status = RegionDraining
			}
			if rank(status) > rank(best[record.Region]) {
				best[record.Region] = status
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	evacuated, err := lookAtEvacuated(ctx, s)
	for i, info := range infos {
		if status := best[info.Region]; status != "" {
			infos[i].Status = status
		}
		infos[i].Evacuated = evacuated[info.Region]
		infos[i] = infos[i].judged()
	}
	return infos, err
}

// urlRetry is the time until the region's URL is written again where that failed:
// an operator's permissions may forbid it, which looks like a lost request.
const urlRetry = time.Minute

// publish writes the region's URL where no node has yet. An existing one is
// never overwritten, whatever this node was told: a compromised node must not be
// able to send everyone's tokens elsewhere. The lease does not depend on it.
func (rs *regions) publish(ctx context.Context) {
	if rs.cfg.URL == "" {
		return
	}
	key := regionPrefix + string(rs.cfg.Region)
	rs.due = time.Time{}
	if err := rs.create(ctx, key); err != nil {
		rs.due = time.Now().Add(urlRetry)
		rs.cfg.Log.Warn("the region's URL could not be written into the registry, trying again",
			"license", rs.license, "key", key, "error", err)
	}
}

// publishDue tries again what failed, if it is time to.
func (rs *regions) publishDue(ctx context.Context) {
	if !rs.due.IsZero() && time.Now().After(rs.due) {
		rs.publish(ctx)
	}
}

func (rs *regions) create(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, rs.cfg.Timeout)
	defer cancel()
	e, err := rs.requests.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if !e.Present {
		_, err = rs.requests.store.Put(ctx, key, []byte(rs.cfg.URL), e.Revision, 0)
		if errors.Is(err, ErrConflict) {
			return nil // another node was faster
		}
		return err
	}
	if string(e.Value) != rs.cfg.URL {
		rs.cfg.Log.Warn("the registry has another URL for this region and keeps it; an operator can change it",
			"license", rs.license, "key", key, "registry", string(e.Value), "configured", rs.cfg.URL)
	}
	return nil
}
