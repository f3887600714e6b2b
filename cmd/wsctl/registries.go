package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// registries are the registries that wsctl reaches, each by itself, so that one
// that does not answer hides no other.
type registries struct {
	sources    map[docid.LicenseRegion]kvpin.Source
	inspectors map[docid.LicenseRegion]*kvpin.Inspector
	failed     map[docid.LicenseRegion]error
	timeout    time.Duration // of one look or change, which have none of their own
	lost       error         // says which NATS, that may hold more registries, are not reached
}

// withRegistries opens the registries for the time of f.
func (c *cli) withRegistries(ctx context.Context, f func(*registries) error) error {
	r, err := c.openRegistries(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	return f(r)
}

func (c *cli) openRegistries(ctx context.Context) (*registries, error) {
	sources, lost, err := c.reach.sources(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.reach.timeout)
	defer cancel()
	r := &registries{sources: sources, inspectors: map[docid.LicenseRegion]*kvpin.Inspector{}, failed: map[docid.LicenseRegion]error{}, timeout: c.reach.timeout, lost: lost}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for license, source := range sources {
		wait.Go(func() {
			inspector, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{license: source})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.failed[license] = err
			} else {
				r.inspectors[license] = inspector
			}
		})
	}
	wait.Wait()
	return r, nil
}

func (r *registries) close() {
	for _, i := range r.inspectors {
		i.Close()
	}
}

// licenses are all license regions, those included that do not answer.
func (r *registries) licenses() []docid.LicenseRegion { return slices.Sorted(maps.Keys(r.sources)) }

func (r *registries) inspector(license docid.LicenseRegion) (*kvpin.Inspector, error) {
	if i := r.inspectors[license]; i != nil {
		return i, nil
	}
	if err := r.failed[license]; err != nil {
		return nil, err
	}
	if r.lost != nil {
		return nil, fmt.Errorf("no registry of license region %q elsewhere: %w", license, r.lost)
	}
	return nil, failed(exitNotFound, "no registry of license region %q: name the NATS that holds it by --registry", license)
}

// chosen are the registries of one license region, or of all.
func (r *registries) chosen(license string) []docid.LicenseRegion {
	if license != "" {
		return []docid.LicenseRegion{docid.LicenseRegion(license)}
	}
	return r.licenses()
}

// pin returns a document's pin; its State is Free if there is none.
func (r *registries) pin(ctx context.Context, d docid.Document) (kvpin.PinInfo, error) {
	i, err := r.inspector(d.License)
	if err != nil {
		return kvpin.PinInfo{Document: d}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.Pin(ctx, d)
}

// unpin deletes a pin as it was seen.
func (r *registries) unpin(ctx context.Context, info kvpin.PinInfo) error {
	i, err := r.inspector(info.Document.License)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.Unpin(ctx, info.Document, info.Pin.Revision)
}

// setURL writes a region's public URL into one registry.
func (r *registries) setURL(ctx context.Context, license docid.LicenseRegion, region docid.Region, url string) error {
	i, err := r.inspector(license)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.SetRegionURL(ctx, license, region, url)
}

// pins streams the pins of one registry or of all.
func (r *registries) pins(ctx context.Context, license string, f kvpin.PinFilter) iter.Seq2[kvpin.PinInfo, error] {
	return func(yield func(kvpin.PinInfo, error) bool) {
		for _, license := range r.chosen(license) {
			i, err := r.inspector(license)
			if err != nil {
				if !yield(kvpin.PinInfo{}, err) {
					return
				}
				continue
			}
			for info, err := range i.Pins(ctx, license, f) {
				if !yield(info, err) {
					return
				}
			}
		}
		if license == "" && r.lost != nil {
			yield(kvpin.PinInfo{}, r.lost)
		}
	}
}

// leases are the leases of all nodes by their registries. Registries that do not
// answer are in the error.
func (r *registries) leases(ctx context.Context) (map[docid.LicenseRegion][]kvpin.Lease, error) {
	leases := map[docid.LicenseRegion][]kvpin.Lease{}
	errs := []error{r.lost}
	for _, license := range r.licenses() {
		i, err := r.inspector(license)
		if err == nil {
			leases[license], err = i.Leases(ctx, license)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("leases of %s: %w", license, err))
		}
	}
	return leases, errors.Join(errs...)
}
