package kvpin

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// NATS servers that are killed before they have synced can bring back keys that
// had expired, with their values and without an expiry: they would stay for ever.
// So a record says for how long it was written, and one that has outlived that
// counts as gone for everybody, and is swept.
//
// Ages are told by the clock of the bucket alone: by when its leader wrote the
// entry, and what its clock says now. How a node's own clock is set changes nothing.

const (
	// lateExpiry is how long after its time a key may still be there: expiry is some
	// hundred milliseconds late, and two leaders' clocks may differ by seconds.
	lateExpiry = 10 * time.Second
	// unknownLife stands for what a record of an earlier version does not say, where
	// no node's settings are known: longer than any lease, and any usual grace period.
	unknownLife = time.Hour
)

// outlived reports whether an entry that was written for ttl is there although the
// bucket's clock says that it must be gone. now is zero if that is not known.
func outlived(e kv.Entry, ttl time.Duration, now time.Time) bool {
	return e.Present && !now.IsZero() && !e.Written.IsZero() && now.Sub(e.Written) > ttl+lateExpiry
}

// bucketClock is the clock of a bucket's leader, as of the last entry whose writing
// was seen as it happened. It may be behind by as long as news take, never ahead, so
// that nothing is called outlived too early. The zero value knows no time.
type bucketClock struct {
	mu      sync.Mutex
	written time.Time // by the leader's clock
	seen    time.Time // by this process's
}

func (c *bucketClock) set(written time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written, c.seen = written, time.Now()
}

// now returns the bucket's time, zero if it is not known.
func (c *bucketClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written.IsZero() {
		return time.Time{}
	}
	return c.written.Add(time.Since(c.seen))
}

// lasted reports whether a pin's grace period is over, although the pin is there.
func (p Pin) lasted(e kv.Entry, grace time.Duration, now time.Time) bool {
	return len(p.Holders) == 0 && outlived(e, cmp.Or(p.ttl, grace), now)
}

// ended reports whether a lease is over, although its key is there.
func (l leaseRecord) ended(e kv.Entry, ttl time.Duration, now time.Time) bool {
	return outlived(e, cmp.Or(time.Duration(l.TTL)*time.Second, ttl), now)
}

// pinOf returns the pin of an entry; a pin that does not say for how long it was
// written counts for grace. ok is false if there is none, or none any more.
func (c *bucketClock) pinOf(e kv.Entry, grace time.Duration) (p Pin, ok bool, err error) {
	if !e.Present {
		return Pin{}, false, nil
	}
	if p, err = decodePin(e); err != nil {
		return Pin{}, false, err
	}
	return p, !p.lasted(e, grace, c.now()), nil
}

// leaseOf returns the lease of an entry; one that does not say how long it lasts
// counts for ttl. ok is false if there is none, or none any
// more.
func (c *bucketClock) leaseOf(e kv.Entry, ttl time.Duration) (l leaseRecord, ok bool, err error) {
	if !e.Present {
		return leaseRecord{}, false, nil
	}
	if l, err = decodeLease(e); err != nil {
		return leaseRecord{}, false, err
	}
	return l, !l.ended(e, ttl, c.now()), nil
}

// sweepOutlived deletes the leases that have outlived their time, whatever region
// they are of, and the given pins. A key that was written meanwhile stays.
func (s *sweeper) sweepOutlived(ctx context.Context, pins []kv.Entry) error {
	found := pins
	err := s.requests.store.Scan(ctx, leasePrefix+">", func(e kv.Entry) error {
		if _, ok, err := s.clock.leaseOf(e, s.cfg.LeaseTTL); e.Present && !ok && err == nil {
			found = append(found, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	deleted := 0
	for _, e := range found {
		within, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		s.requests.writes.Add(1)
		err := s.requests.store.Delete(within, e.Key, e.Revision)
		cancel()
		switch {
		case err == nil:
			deleted++
		case !errors.Is(err, ErrConflict):
			return err
		}
	}
	if deleted > 0 {
		s.cfg.Log.Warn("removed keys that had expired and came back: servers of the registry were killed that do not sync every write (sync_interval: always)",
			"license", s.license, "keys", deleted)
	}
	return nil
}

// forsaken reports whether a pin with holders has outlived the expiry that one of
// them would have renewed.
func (s *sweeper) forsaken(e kv.Entry, p Pin) bool {
	return outlived(e, cmp.Or(p.ttl, s.cfg.Backstop), s.clock.now())
}

// Outlived are keys of a registry that are there although their time is over. They
// count as gone; a node removes them within the hour.
type Outlived struct {
	Pins   []docid.Document
	Leases []docid.NodeID
}

// Outlived looks for keys that servers brought back after they had expired.
func (i *Inspector) Outlived(ctx context.Context, license docid.LicenseRegion) (o Outlived, err error) {
	s, err := i.store(license)
	if err != nil {
		return o, err
	}
	clock := clockOf(ctx, s)
	leases := newLeaseTable(clock)
	err = s.Scan(ctx, leasePrefix+">", func(e kv.Entry) error {
		if e.Present && !leases.take(e) {
			o.Leases = append(o.Leases, nodeOfLease(e.Key))
		}
		return nil
	})
	if err != nil {
		return o, err
	}
	return o, s.Scan(ctx, pinKeys, func(e kv.Entry) error {
		p, err := decodePin(e)
		if !e.Present || err != nil || !p.lasted(e, unknownLife, clock.now()) {
			return nil
		}
		if doc, err := docid.ParsePinKey(license, e.Key); err == nil {
			o.Pins = append(o.Pins, doc)
		}
		return nil
	})
}

// clockOf asks for a bucket's clock; one that does not say it has none.
func clockOf(ctx context.Context, s kv.Store) *bucketClock {
	clock := new(bucketClock)
	if now, err := s.Now(ctx); err == nil {
		clock.set(now)
	}
	return clock
}
