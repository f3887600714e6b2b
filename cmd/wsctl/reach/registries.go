package reach

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// Registries are the registries that wsctl reaches, each by itself, so that one
// that does not answer hides no other.
type Registries struct {
	Sources    map[docid.LicenseRegion]kvpin.Source
	inspectors map[docid.LicenseRegion]*kvpin.Inspector
	failed     map[docid.LicenseRegion]error
	timeout    time.Duration // of one look or change, which have none of their own
	Lost       error         // says which NATS, that may hold more registries, are not reached
}

// WithRegistries opens the registries for the time of f.
func (c *Clusters) WithRegistries(ctx context.Context, f func(*Registries) error) error {
	r, err := c.openRegistries(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	return f(r)
}

func (c *Clusters) openRegistries(ctx context.Context) (*Registries, error) {
	sources, lost, err := c.Sources(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r := &Registries{Sources: sources, inspectors: map[docid.LicenseRegion]*kvpin.Inspector{}, failed: map[docid.LicenseRegion]error{}, timeout: c.Timeout, Lost: lost}
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

func (r *Registries) close() {
	for _, i := range r.inspectors {
		i.Close()
	}
}

// Licenses are all license regions, those included that do not answer.
func (r *Registries) Licenses() []docid.LicenseRegion { return slices.Sorted(maps.Keys(r.Sources)) }

// Inspector is the way to one registry; the error says why there is none.
func (r *Registries) Inspector(license docid.LicenseRegion) (*kvpin.Inspector, error) {
	if i := r.inspectors[license]; i != nil {
		return i, nil
	}
	if err := r.failed[license]; err != nil {
		return nil, err
	}
	if r.Lost != nil {
		return nil, fmt.Errorf("no registry of license region %q elsewhere: %w", license, r.Lost)
	}
	return nil, exit.With(exit.NotFound, "no registry of license region %q: name the NATS that holds it by --registry", license)
}

// Chosen are the registries of one license region, or of all.
func (r *Registries) Chosen(license string) []docid.LicenseRegion {
	if license != "" {
		return []docid.LicenseRegion{docid.LicenseRegion(license)}
	}
	return r.Licenses()
}

// Pin returns a document's pin; its State is Free if there is none.
func (r *Registries) Pin(ctx context.Context, d docid.Document) (kvpin.PinInfo, error) {
	i, err := r.Inspector(d.License)
	if err != nil {
		return kvpin.PinInfo{Document: d}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.Pin(ctx, d)
}

// Unpin deletes a pin as it was seen.
func (r *Registries) Unpin(ctx context.Context, info kvpin.PinInfo) error {
	i, err := r.Inspector(info.Document.License)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.Unpin(ctx, info.Document, info.Pin.Revision)
}

// SetURL writes a region's public URL into one registry.
func (r *Registries) SetURL(ctx context.Context, license docid.LicenseRegion, region docid.Region, url string) error {
	i, err := r.Inspector(license)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return i.SetRegionURL(ctx, license, region, url)
}

// Pins streams the pins of one registry or of all.
func (r *Registries) Pins(ctx context.Context, license string, f kvpin.PinFilter) iter.Seq2[kvpin.PinInfo, error] {
	return func(yield func(kvpin.PinInfo, error) bool) {
		for _, license := range r.Chosen(license) {
			i, err := r.Inspector(license)
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
		if license == "" && r.Lost != nil {
			yield(kvpin.PinInfo{}, r.Lost)
		}
	}
}

// Leases are the leases of all nodes by their registries. Registries that do not
// answer are in the error.
func (r *Registries) Leases(ctx context.Context) (map[docid.LicenseRegion][]kvpin.Lease, error) {
	leases := map[docid.LicenseRegion][]kvpin.Lease{}
	errs := []error{r.Lost}
	for _, license := range r.Licenses() {
		i, err := r.Inspector(license)
		if err == nil {
			leases[license], err = i.Leases(ctx, license)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("leases of %s: %w", license, err))
		}
	}
	return leases, errors.Join(errs...)
}

// SetEvacuated marks a region in all registries, or in none that is not reached.
func (r *Registries) SetEvacuated(ctx context.Context, region docid.Region, evacuated bool) (changed int, err error) {
	if r.Lost != nil {
		return 0, r.Lost
	}
	for _, license := range r.Licenses() {
		if _, err := r.Inspector(license); err != nil {
			return 0, err
		}
	}
	var errs []error
	for _, license := range r.Licenses() {
		i, _ := r.Inspector(license)
		within, cancel := context.WithTimeout(ctx, r.timeout)
		did, err := i.SetEvacuated(within, license, region, evacuated)
		cancel()
		if errs = append(errs, err); did {
			changed++
		}
	}
	return changed, errors.Join(errs...)
}
