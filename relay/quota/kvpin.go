package quota

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// OnRegistry is the Registry of a node: the buckets and leases of its pins.
func OnRegistry(r *kvpin.Registry) Registry { return pinRegistry{r} }

type pinRegistry struct{ *kvpin.Registry }

func (r pinRegistry) Keys(license docid.LicenseRegion) Keys {
	if keys := r.Registry.Keys(license); keys != nil {
		return pinKeys{keys}
	}
	return nil
}

func (r pinRegistry) Lease(license docid.LicenseRegion) (string, bool) {
	lease, _, current := r.Registry.Lease(license)
	return string(lease), current
}

func (r pinRegistry) LeaseCurrent(ctx context.Context, license docid.LicenseRegion, node, lease string) (bool, error) {
	return r.Registry.LeaseCurrent(ctx, license, docid.NodeID(node), kvpin.LeaseID(lease))
}

type pinKeys struct{ keys *kvpin.Keys }

func (k pinKeys) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := k.keys.Get(ctx, key)
	return e.Value, e.Revision, err
}

func (k pinKeys) Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	next, err := k.keys.Update(ctx, key, value, revision, ttl)
	if errors.Is(err, kvpin.ErrConflict) {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return next, err
}

func (k pinKeys) Watch(ctx context.Context, prefix string, handle func(string, []byte, uint64)) {
	k.keys.Watch(ctx, prefix, func(e kvpin.Entry) { handle(e.Key, e.Value, e.Revision) })
}
