package kvtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

// Harness is a store under test.
type Harness struct {
	// Store is the store under test, on an empty bucket.
	Store kv.Store

	// Other is another store on the same bucket, over another connection. Its way to the
	// bucket is never stalled.
	Other kv.Store

	// Stall has what Store sends wait, without an end of its connection, until resume
	// is called. Nil leaves out the cases that need it.
	Stall func() (resume func())
}

// Case is one demand on a store. It returns what is wrong with it.
type Case struct {
	Name  string
	Holds func(ctx context.Context, h *Harness) error
}

// Cases are all demands. They can be checked in any order on the same bucket.
func Cases() []Case {
	var all []Case
	for _, some := range [][]Case{writing, expiring, ordering, watching} {
		all = append(all, some...)
	}
	return all
}

// patience is for what a machine that is busy may take.
const patience = time.Minute

// Run holds the store to all demands.
func Run(t *testing.T, h *Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			if err := c.Holds(ctx, h); err != nil {
				t.Error(err)
			}
		})
	}
}

// put writes a key that is at a revision. Replicas refuse a write now and then although
// nobody else writes: then the key is read, and written again.
func put(ctx context.Context, s kv.Store, key, value string, expect uint64, ttl time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		revision, err := s.Put(ctx, key, []byte(value), expect, ttl)
		if err == nil {
			return revision, nil
		}
		if errors.Is(err, kv.ErrConflict) {
			if e, err := get(ctx, s, key); err == nil && e.Revision == expect {
				continue
			}
		}
		return 0, fmt.Errorf("put %s at %d: %w", key, expect, err)
	}
}

// get reads a key, again and again for a while: what is asked of a cluster that is
// about to elect a leader is never answered.
func get(ctx context.Context, s kv.Store, key string) (kv.Entry, error) {
	for deadline := time.Now().Add(patience); ; {
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		e, err := s.Get(within, key)
		cancel()
		switch {
		case err == nil:
			return e, nil
		case !errors.Is(err, kv.ErrUnavailable), time.Now().After(deadline):
			return e, fmt.Errorf("get %s: %w", key, err)
		}
	}
}

// refused has a write refused that expects another revision than there is.
func refused(ctx context.Context, s kv.Store, key string, expect uint64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := s.Put(ctx, key, nil, expect, 0); !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("put %s at %d: %v, expected a conflict", key, expect, err)
	}
	return nil
}

// allOf runs steps until one fails.
func allOf(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
