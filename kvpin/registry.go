package kvpin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Registry is a node's view of all registries that it serves. All methods may be
// called concurrently.
type Registry struct {
	cfg     Config // static
	buckets map[docid.LicenseRegion]*bucket
	links   *kv.Links
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// Open connects to the registries, creates or checks their buckets, writes the
// region's URL where it is missing and takes the first leases. A registry that
// cannot be reached within the start timeout is left to the background: its
// documents get ErrUnavailable until it is there. A bucket or server that cannot
// be used is a *BucketError.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	links := kv.NewLinks("wsnode registry "+string(cfg.Node), cfg.Log)
	r := &Registry{cfg: cfg, buckets: make(map[docid.LicenseRegion]*bucket), links: links}
	for _, license := range slices.Sorted(maps.Keys(cfg.Registries)) {
		source := cfg.Registries[license]
		link, err := links.To(source)
		if err != nil {
			links.Close()
			return nil, err
		}
		store := link.Bucket(bucketName(license), source.Domain)
		b := newBucket(&r.cfg, license, store)
		b.lease.ensure = func(ctx context.Context) (bool, error) { return store.Ensure(ctx, source) }
		link.OnConnect(b.lease.renewNow)
		r.buckets[license] = b
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// start runs the buckets and waits for their first leases. On an error nothing
// keeps running.
func (r *Registry) start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for _, b := range r.buckets {
		r.running.Go(func() { b.run(background) })
	}
	wait, done := context.WithTimeout(ctx, r.cfg.StartTimeout)
	defer done()
	for license, b := range r.buckets {
		select {
		case <-b.lease.opened:
		case <-wait.Done():
		}
		err := b.lease.fault()
		if err == nil && ctx.Err() != nil {
			err = fmt.Errorf("open registry %s: %w", license, ctx.Err())
		}
		if err != nil {
			r.stop()
			return err
		}
		if wait.Err() != nil && !b.lease.isOpen() {
			r.cfg.Log.Warn("registry cannot be reached, going on without it", "license", license,
				"error", cmp.Or(b.lease.lastError(), fmt.Errorf("%w: no answer yet", ErrUnavailable)))
		}
	}
	return nil
}

// Close works off what is still owed as far as ctx allows, gives the leases back
// and ends the background work. Holds that were not released become orphans.
func (r *Registry) Close(ctx context.Context) error {
	var errs []error
	r.closing.Do(func() {
		var wait sync.WaitGroup
		var mu sync.Mutex
		for _, b := range r.buckets {
			wait.Go(func() {
				if err := b.leaveInOrder(ctx); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		r.stop()
	})
	return errors.Join(errs...)
}

func (r *Registry) stop() {
	r.cancel()
	r.running.Wait()
	r.links.Close()
}

// Attach names who is told when a pin is no longer what this node thought. It is
// called once, before the first Hold.
func (r *Registry) Attach(rooms Rooms) {
	for _, b := range r.buckets {
		b.pins.rooms.Store(&rooms)
	}
}

// Serves reports whether a registry is configured for the license region.
func (r *Registry) Serves(license docid.LicenseRegion) bool {
	return r.buckets[license] != nil
}

// LicenseRegions returns the license regions that are served, sorted.
func (r *Registry) LicenseRegions() []docid.LicenseRegion {
	return slices.Sorted(maps.Keys(r.buckets))
}

// Reachable reports whether the node's lease in the registry is current, which
// means that the registry answered within the lease time.
func (r *Registry) Reachable(license docid.LicenseRegion) bool {
	b := r.buckets[license]
	if b == nil {
		return false
	}
	_, ok := b.lease.current(time.Now())
	return ok
}

// Missing says in which registries this node has no current lease, and why; nil if
// it has one in each. held is in how many it has.
func (r *Registry) Missing() (held int, missing error) {
	var errs []error
	for _, license := range r.LicenseRegions() {
		if r.Reachable(license) {
			held++
			continue
		}
		err := cmp.Or(r.buckets[license].lease.lastError(), fmt.Errorf("%w: no answer yet", ErrUnavailable))
		errs = append(errs, fmt.Errorf("registry %s: %w", license, err))
	}
	return held, errors.Join(errs...)
}

// Ended returns an error while a connection to a registry, which ended for good, is
// opened anew: the node should take no new clients. That a registry is away is no
// such end.
func (r *Registry) Ended() error {
	if err := r.links.Ended(); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// Drain marks the node as draining in its leases, for people and for Regions.
func (r *Registry) Drain() {
	for _, b := range r.buckets {
		b.lease.draining.Store(true)
		b.lease.renewNow()
	}
}

func (r *Registry) bucket(license docid.LicenseRegion) (*bucket, error) {
	b := r.buckets[license]
	if b == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotServed, license)
	}
	return b, nil
}

// Lookup says where the document lives, as the bucket's leader has it. Errors wrap
// ErrUnavailable, or ErrNotServed.
func (r *Registry) Lookup(ctx context.Context, doc docid.Document) (Pin, State, error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return Pin{}, Free, err
	}
	return b.pins.lookup(ctx, doc)
}

// Hold makes this node a holder of the document: it claims the document if it is
// free, enters its pin if it lives in this region, and takes it over from a region
// whose holders are all gone. *PinnedError says that it lives elsewhere. Errors
// that wrap ErrUnavailable say that nothing could be decided within the deadline;
// what was sent meanwhile is undone in the background. Between Hold and Release
// the document is held: ErrHeld.
//
// A canceled context does not interrupt a write; the caller releases what it no
// longer wants.
func (r *Registry) Hold(ctx context.Context, doc docid.Document) (*Hold, error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return nil, err
	}
	return b.pins.claim(ctx, doc)
}

// Adopt makes this node a holder by word of another room of the region, while the
// registry does not answer. The entry in the pin is owed: it is made when the
// registry is back, with the same results as the validation after a lost lease.
func (r *Registry) Adopt(doc docid.Document, epoch Epoch) (*Hold, error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return nil, err
	}
	return b.pins.adopt(doc, epoch)
}
