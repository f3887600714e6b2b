package quota

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// ErrConflict is what Keys.Update returns for a write that certainly did not
// happen and will not: the key is at another revision.
var ErrConflict = errors.New("quota: the key has changed")

// Registry is what Places needs of the registries.
type Registry interface {
	// Keys returns the bucket of a license region, nil if this node does not serve
	// it.
	Keys(docid.LicenseRegion) Keys
	// Lease returns this node's lease in that registry; false when it has none
	// that is current.
	Lease(docid.LicenseRegion) (lease string, current bool)
	// LeaseCurrent reports whether another node's lease is current. It must never
	// deny one that is: unsure, it asks the registry. A lease that ended does not
	// return.
	LeaseCurrent(ctx context.Context, license docid.LicenseRegion, node, lease string) (bool, error)
}

// Keys is one bucket.
type Keys interface {
	// Get reads a key where it is decided what it holds. A missing key has no
	// value, and the revision that Update expects for making it.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Update writes a key that is at the given revision. Errors other than
	// ErrConflict say nothing about whether the write happened or is still to
	// happen; it can only happen while the key is at that revision.
	Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (newRevision uint64, err error)
	// Watch calls handle for the keys that begin with prefix and for each change
	// of them, one after the other, until ctx ends. Changes may be late or merged.
	// A missing key has no value.
	Watch(ctx context.Context, prefix string, handle func(key string, value []byte, revision uint64))
}
