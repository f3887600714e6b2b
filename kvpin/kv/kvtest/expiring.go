package kvtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

var expiring = []Case{
	{"a key expires not early and not much late", expiresInTime},
	{"the TTL of the last write counts", lastTTLCounts},
}

// A server may expire keys by the second; the rest is for a machine that does
// something else.
const late = patience

func expiresInTime(ctx context.Context, h *Harness) error {
	const key, ttl = "expires.a", 2 * time.Second
	start := time.Now()
	revision, err := put(ctx, h.Store, key, "1", 0, ttl)
	if err != nil {
		return err
	}
	e, err := untilGone(ctx, h.Store, key, ttl+late)
	if err != nil {
		return err
	}
	if time.Since(start) < ttl {
		return fmt.Errorf("gone after %s", time.Since(start))
	}
	if e.Revision <= revision {
		return fmt.Errorf("an expired key leaves no trace: %+v", e)
	}
	if err := refused(ctx, h.Store, key, 0); err != nil {
		return err
	}
	_, err = put(ctx, h.Store, key, "2", e.Revision, 0)
	return err
}

// untilGone waits until a key is gone, and returns what is left of it.
func untilGone(ctx context.Context, s kv.Store, key string, within time.Duration) (kv.Entry, error) {
	start := time.Now()
	for {
		e, err := get(ctx, s, key)
		if err != nil || !e.Present {
			return e, err
		}
		if time.Since(start) > within {
			return e, fmt.Errorf("%s is still there after %s", key, within)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func lastTTLCounts(ctx context.Context, h *Harness) error {
	longer, err := putTwice(ctx, h.Store, "ttl.longer", time.Second, time.Hour)
	if err != nil {
		return err
	}
	cleared, err := putTwice(ctx, h.Store, "ttl.cleared", time.Second, 0)
	if err != nil {
		return err
	}
	for key, first := range map[string]time.Duration{"ttl.shorter": time.Hour, "ttl.given": 0} {
		if _, err := putTwice(ctx, h.Store, key, first, time.Second); err != nil {
			return err
		}
		if _, err := untilGone(ctx, h.Store, key, time.Second+late); err != nil {
			return fmt.Errorf("written for %s and then for a second: %w", first, err)
		}
	}
	// By now the first TTLs are over.
	for key, revision := range map[string]uint64{"ttl.longer": longer, "ttl.cleared": cleared} {
		if e, err := get(ctx, h.Store, key); err != nil || e.Revision != revision {
			return fmt.Errorf("written again for longer: %+v, %v", e, err)
		}
	}
	return nil
}

// putTwice writes a key with one TTL and at once with another. On a busy machine the
// first may run out before the second write: then it writes again.
func putTwice(ctx context.Context, s kv.Store, key string, first, second time.Duration) (uint64, error) {
	for {
		e, err := get(ctx, s, key)
		if err != nil {
			return 0, err
		}
		revision, err := put(ctx, s, key, "1", e.Revision, first)
		if err == nil {
			revision, err = put(ctx, s, key, "2", revision, second)
		}
		if !errors.Is(err, kv.ErrConflict) {
			return revision, err
		}
	}
}
