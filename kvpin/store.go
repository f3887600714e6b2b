package kvpin

import (
	"context"
	"time"
)

// store is one bucket. Get, Put and Delete wait as long as their context says.
// The NATS store and the tests' fake pass one contract suite.
type store interface {
	// Get reads a key from the bucket's leader. A missing key is an entry that is
	// not Present; its Revision is that of the marker that a deletion or expiry
	// left, or 0. Errors wrap ErrUnavailable.
	Get(ctx context.Context, key string) (entry, error)
	// Put writes a key if its last revision, markers included, is expect. ttl is
	// in whole seconds; 0 keeps the key for ever. Errors wrap ErrConflict (not
	// written), ErrUnsettled (may have been written, or may be yet), or
	// ErrUnavailable alone (not written).
	Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error)
	// Delete puts a marker in place of a key, with the conditions and errors of Put.
	Delete(ctx context.Context, key string, expect uint64) error
	// Watch calls handle for the last value of each key that a filter matches, then
	// once with a change that is Synced, then for each change, until ctx ends; of
	// changes of a key in quick succession only the last is sure to be reported. When
	// it loses track it starts over and reports what went missing as deleted. A
	// replica serves it, which may be moments behind.
	// Calls come one after the other from one goroutine. It returns once no call is
	// under way any more.
	Watch(ctx context.Context, filters []string, handle func(change))
	// Scan calls handle for the last value of each key that a filter matches, as a
	// replica has them that may be moments behind. It fails when nothing comes for
	// some seconds.
	Scan(ctx context.Context, filter string, handle func(entry) error) error
	// Now returns the time by the clock of the bucket's leader, or by one that was so a
	// moment ago. Errors wrap ErrUnavailable.
	Now(ctx context.Context) (time.Time, error)
	// Incarnation counts the connections that the store has had. Writes that were
	// sent in one incarnation reach the bucket in their order.
	Incarnation() uint64
}

// entry is a key of a bucket at one revision. Value must not be changed.
type entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Present  bool
	Written  time.Time // by the clock of the bucket's leader
}

// change is what Watch reports: an entry, present or not, or the end of the first
// values.
type change struct {
	entry
	Synced bool
}
