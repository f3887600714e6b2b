package limits

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/relay/docname"
)

// ErrConflict is returned by Keys for a write that certainly did not happen:
// the key is at another revision, or exists already.
var ErrConflict = errors.New("limits: the key has changed")

// ErrNoKey is returned by Keys.Get for a key that does not exist.
var ErrNoKey = errors.New("limits: no such key")

// Registry is what Places needs of the registries.
type Registry interface {
	// Keys returns the bucket of a license region; an error means that this node
	// does not serve it.
	Keys(docname.LicenseRegion) (Keys, error)
	// Lease returns this node's lease in that registry; false when it has none
	// that is current.
	Lease(docname.LicenseRegion) (lease string, current bool)
	// LeaseCurrent reports whether another node's lease is current. It must never
	// deny one that is: in doubt it asks the registry, or says yes. A lease that
	// ended does not return.
	LeaseCurrent(ctx context.Context, license docname.LicenseRegion, node, lease string) (bool, error)
}

// Keys is one bucket. Errors other than the two above say nothing about whether
// a write happened or is still to happen.
type Keys interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (newRevision uint64, err error)
	// Watch calls changed after the key has changed, as soon as it can, from any
	// goroutine, until stop is called. Calls may be late, merged or lost: they are
	// hints.
	Watch(key string, changed func()) (stop func(), err error)
}
