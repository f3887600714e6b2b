package kvpin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Keys gives others the use of a registry's bucket for keys of their own, such as
// the counters of plan limits. The registry's own keys are out of its reach. Its
// methods may be called concurrently.
type Keys struct{ b *bucket }

// Entry is a key at one revision. Value must not be changed.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Deleted  bool // deleted or expired; without a value
}

// Keys returns the keys of a license region's registry, or nil if it is not
// served.
func (r *Registry) Keys(license docid.LicenseRegion) *Keys {
	if b := r.buckets[license]; b != nil {
		return &Keys{b}
	}
	return nil
}

func own(key string) error {
	for _, prefix := range []string{"pin.", leasePrefix, regionPrefix, noticePrefix, sweepPrefix, storePrefix, carryPrefix, evacuatedPrefix} {
		if strings.HasPrefix(key, prefix) {
			return fmt.Errorf("key %s belongs to the registry", key)
		}
	}
	return nil
}

// Get reads a key from the leader. A missing key is an Entry that is Deleted, with
// the revision that Update expects for creating it.
func (k *Keys) Get(ctx context.Context, key string) (Entry, error) {
	e, err := k.b.requests.get(ctx, key)
	return exported(e), err
}

// Create writes a key that does not exist: ErrConflict if it does.
func (k *Keys) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	e, err := k.b.requests.get(ctx, key)
	if err != nil {
		return 0, err
	}
	if e.Present {
		return 0, fmt.Errorf("create %s: %w: it exists", key, ErrConflict)
	}
	return k.Update(ctx, key, value, e.Revision, ttl)
}

// Update writes a key that has the given revision, and returns its next one. ttl is
// in whole seconds, 0 for ever; an update without a TTL clears an earlier one.
// Errors wrap ErrConflict, or ErrUnavailable; those that wrap ErrUnsettled as well
// say that the write may still land.
func (k *Keys) Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	if err := own(key); err != nil {
		return 0, err
	}
	return k.b.requests.put(ctx, key, value, revision, ttl)
}

// Delete deletes a key that has the given revision, with the errors of Update.
func (k *Keys) Delete(ctx context.Context, key string, revision uint64) error {
	if err := own(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.b.cfg.Timeout)
	defer cancel()
	k.b.requests.writes.Add(1)
	return k.b.store.Delete(ctx, key, revision)
}

// Watch calls handle for each key that begins with prefix, which ends in a dot or
// is empty, and then for each change, until ctx ends. After an interruption it
// starts over and reports as deleted what went missing. Calls come one after the
// other; Watch returns when the last is done.
func (k *Keys) Watch(ctx context.Context, prefix string, handle func(Entry)) {
	k.b.store.Watch(ctx, []string{prefix + ">"}, func(c kv.Change) {
		if !c.Synced {
			handle(exported(c.Entry))
		}
	})
}

func exported(e kv.Entry) Entry {
	if !e.Present {
		return Entry{Key: e.Key, Revision: e.Revision, Deleted: true}
	}
	return Entry{Key: e.Key, Value: e.Value, Revision: e.Revision}
}

// Lease returns this node's lease in the registry and until when it is surely
// current; ok is false while there is none.
func (r *Registry) Lease(license docid.LicenseRegion) (id LeaseID, until time.Time, ok bool) {
	b := r.buckets[license]
	if b == nil {
		return "", time.Time{}, false
	}
	lease, ok := b.lease.current(time.Now())
	if !ok {
		return "", time.Time{}, false
	}
	return lease.id, lease.until, true
}

// LeaseCurrent reports whether a node's lease is current. That it is may be known
// for up to a second; that it is not is read from the leader. Unlike a holder of a
// pin, which counts as alive while its node goes through the pins of a lost lease,
// a lease that ended is not current ever again.
func (r *Registry) LeaseCurrent(ctx context.Context, license docid.LicenseRegion, node docid.NodeID, lease LeaseID) (bool, error) {
	b, err := r.bucket(license)
	if err != nil {
		return false, err
	}
	if node == b.cfg.Node && lease.region() == b.cfg.Region {
		own, ok := b.lease.current(time.Now())
		return ok && own.id == lease, nil
	}
	if b.leases.renewed(node, lease, b.cfg.LeaseTTL) {
		return true, nil
	}
	record, err := b.leases.readLease(ctx, lease.region(), node)
	return record.Lease == lease && !record.Left, err
}
