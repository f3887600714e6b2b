// Package kv is the small key-value store that a registry needs: keys with revisions
// that only grow, writes that succeed at an expected revision only, expiry by key,
// and watches. Package kvtest holds implementations to its contract.
package kv

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store is one bucket, over one connection at a time. Get, Put and Delete wait as long
// as their context says. All methods may be called concurrently.
//
// Three duties are the store's, since those who use it build on them:
//   - A Get that begins after a Put was acknowledged to anybody shows that write, or a
//     later one: it is answered by whoever decides about writes.
//   - Writes that were sent in one incarnation, one after the other, reach the bucket
//     in that order and are decided upon in that order. So once a later one was
//     acknowledged, an earlier one without an answer has landed or never will.
//   - What lands after its caller gave up lands at the revision that it expected, or
//     not at all, and a store whose connection ended counts another incarnation before
//     its next write.
type Store interface {
	// Get reads a key as the bucket's leader has it. A missing key is an entry that is
	// not Present; its Revision is that of the marker that a deletion or expiry
	// left, or 0. Errors wrap ErrUnavailable.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes a key if its last revision, markers included, is expect. ttl is
	// in whole seconds; 0 keeps the key for ever, whatever TTL it had before. Errors
	// wrap ErrConflict (not written), ErrUnsettled (may have been written, or may be
	// yet), or ErrUnavailable alone (not written).
	Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error)
	// Delete puts a marker in place of a key, with the conditions and errors of Put.
	Delete(ctx context.Context, key string, expect uint64) error
	// Watch calls handle for the last value of each key that a filter matches, then
	// once with a change that is Synced, then for each change, until ctx ends. Changes
	// of one key are reported in the order of their revisions; of changes of a key in
	// quick succession only the last is sure to be reported. When it loses track it
	// starts over and reports what went missing as deleted. A replica serves it, which
	// may be moments behind.
	// Calls come one after the other from one goroutine. It returns once no call is
	// under way any more.
	Watch(ctx context.Context, filters []string, handle func(Change))
	// Scan calls handle for the last value of each key that a filter matches, as a
	// replica has them that may be moments behind. It fails when nothing comes for
	// some seconds.
	Scan(ctx context.Context, filter string, handle func(Entry) error) error
	// Now returns the time by the clock of the bucket's leader, or by one that was so a
	// moment ago. Errors wrap ErrUnavailable.
	Now(ctx context.Context) (time.Time, error)
	// Incarnation counts the connections that the store has had.
	Incarnation() uint64
}

// Entry is a key of a bucket at one revision. Value must not be changed.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Present  bool
	Written  time.Time // by the clock of the bucket's leader
}

// Change is what Watch reports: an entry, present or not, or the end of the first
// values.
type Change struct {
	Entry
	Synced bool
}

// MarkerTTL is how long the trace of a deleted or expired key stays: long enough
// for watchers, short enough not to pile up.
const MarkerTTL = time.Minute

var (
	// ErrUnavailable is returned when the bucket gave no answer in time, or when it
	// cannot be reached.
	ErrUnavailable = errors.New("registry unavailable")

	// ErrUnsettled is ErrUnavailable after a write was sent: it may still land.
	ErrUnsettled = fmt.Errorf("%w: the outcome of a write is unknown", ErrUnavailable)

	// ErrConflict is returned when a key has another revision than expected, or
	// when another write to it is in flight: read it again.
	ErrConflict = errors.New("revision conflict")

	// ErrNoBucket is wrapped with ErrUnavailable when nobody answers for the bucket:
	// it was deleted, or has no leader at the moment.
	ErrNoBucket = errors.New("no bucket answers")
)
