package kvpin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// RegionInfo is one region as the registries know it.
type RegionInfo struct {
	Region Region
	URL    string
	Status RegionStatus
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
func (r *Registry) RegionURL(ctx context.Context, region Region) (string, error) {
	licenses := r.LicenseRegions()
	for _, license := range licenses {
		if url, ok := r.buckets[license].peers.url(region); ok {
			return url, nil
		}
	}
	failed := fmt.Errorf("URL of region %s: %w", region, ErrNotFound)
	for _, license := range licenses {
		e, err := r.buckets[license].get(ctx, regionPrefix+string(region))
		switch {
		case err != nil:
			failed = fmt.Errorf("URL of region %s: %w", region, err)
		case e.Present:
			return string(e.Value), nil
		}
	}
	return "", failed
}

// Regions returns all regions that a registry knows, sorted by name. It asks
// nobody: what it says is what the watches have brought.
func (r *Registry) Regions(context.Context) ([]RegionInfo, error) {
	urls := make(map[Region]string)
	status := make(map[Region]RegionStatus)
	synced := len(r.buckets) == 0
	for _, license := range slices.Backward(r.LicenseRegions()) {
		p := &r.buckets[license].peers
		p.mu.Lock()
		synced = synced || p.synced
		maps.Copy(urls, p.urls)
		for _, peer := range p.leases {
			if peer.Left || time.Since(peer.seen) > r.cfg.LeaseTTL+time.Second {
				continue
			}
			if !peer.Draining {
				status[peer.Region] = RegionLive
			} else if status[peer.Region] == "" {
				status[peer.Region] = RegionDraining
			}
		}
		p.mu.Unlock()
	}
	if !synced {
		return nil, fmt.Errorf("list regions: %w", ErrUnavailable)
	}
	var infos []RegionInfo
	for _, region := range slices.Sorted(maps.Keys(urls)) {
		s := status[region]
		if s == "" {
			s = RegionDown
		}
		infos = append(infos, RegionInfo{region, urls[region], s})
	}
	return infos, nil
}

func (p *peers) url(r Region) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url, ok := p.urls[r]
	return url, ok
}

// publishURL writes the region's URL where no node has yet. An existing one is
// never overwritten, whatever this node was told: a compromised node must not be
// able to send everyone's tokens elsewhere.
func (b *bucket) publishURL(ctx context.Context) error {
	if b.cfg.URL == "" {
		return nil
	}
	key := regionPrefix + string(b.cfg.Region)
	e, err := b.get(ctx, key)
	if err != nil {
		return err
	}
	if !e.Present {
		if _, err = b.put(ctx, key, []byte(b.cfg.URL), e.Revision, 0); !errors.Is(err, ErrConflict) {
			return err
		}
		return nil
	}
	if string(e.Value) != b.cfg.URL {
		b.cfg.Log.Warn("the registry has another URL for this region and keeps it; an operator can delete its key",
			"license", b.license, "key", key, "registry", string(e.Value), "configured", b.cfg.URL)
	}
	return nil
}
