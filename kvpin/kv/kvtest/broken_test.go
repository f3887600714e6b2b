package kvtest_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

// Stores that get one thing wrong. The suite must find each of them.
type (
	// stale reads from a follower that is behind for a while after a write.
	stale struct {
		kv.Store
		mu     sync.Mutex
		behind map[string]kv.Entry
	}
	// reordered reports two changes that follow each other the other way round.
	reordered struct{ kv.Store }
	// lateWriter keeps a write that got no answer and sends it again after a while,
	// over the same connection.
	lateWriter struct {
		kv.Store
		bucket  *kvtest.Bucket
		stalled atomic.Bool
	}
	// forgetsTTL keeps a key for ever that is written again.
	forgetsTTL struct{ kv.Store }
)

func (s *stale) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	before, err := s.Store.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	revision, err := s.Store.Put(ctx, key, value, expect, ttl)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.behind[key] = before
		time.AfterFunc(10*time.Millisecond, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.behind, key)
		})
	}
	return revision, err
}

func (s *stale) Get(ctx context.Context, key string) (kv.Entry, error) {
	s.mu.Lock()
	e, behind := s.behind[key]
	s.mu.Unlock()
	if behind {
		return e, nil
	}
	return s.Store.Get(ctx, key)
}

func (s reordered) Watch(ctx context.Context, filters []string, handle func(kv.Change)) {
	var mu sync.Mutex
	var kept *kv.Change
	send := func() {
		if kept != nil {
			handle(*kept)
			kept = nil
		}
	}
	var timers sync.WaitGroup
	defer timers.Wait()
	s.Store.Watch(ctx, filters, func(c kv.Change) {
		mu.Lock()
		defer mu.Unlock()
		if kept != nil || c.Synced {
			handle(c)
			send()
			return
		}
		kept = &c
		timers.Add(1)
		time.AfterFunc(time.Millisecond, func() {
			defer timers.Done()
			mu.Lock()
			defer mu.Unlock()
			send()
		})
	})
}

func (s *lateWriter) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	if !s.stalled.Load() {
		return s.Store.Put(ctx, key, value, expect, ttl)
	}
	<-ctx.Done()
	time.AfterFunc(time.Second, func() { _, _ = s.bucket.Put(key, value, expect, ttl) })
	return 0, kv.ErrUnsettled
}

func (s *lateWriter) Get(ctx context.Context, key string) (kv.Entry, error) {
	if s.stalled.Load() {
		<-ctx.Done()
		return kv.Entry{}, kv.ErrUnavailable
	}
	return s.Store.Get(ctx, key)
}

func (s forgetsTTL) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	if expect != 0 {
		ttl = 0
	}
	return s.Store.Put(ctx, key, value, expect, ttl)
}

// failed are the names of the demands that a store does not meet.
func failed(ctx context.Context, h *kvtest.Harness) (names []string) {
	for _, c := range kvtest.Cases() {
		if c.Holds(ctx, h) != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

func TestBrokenStoresAreFound(t *testing.T) {
	for _, broken := range []struct {
		name   string
		breaks func(b *kvtest.Bucket) *kvtest.Harness
		found  []string // demands that it does not meet
	}{
		{"a stale read after a write", func(b *kvtest.Bucket) *kvtest.Harness {
			s := &stale{Store: b.Link(), behind: make(map[string]kv.Entry)}
			return &kvtest.Harness{Store: s, Other: s}
		}, []string{"a read after an acknowledged write shows it"}},
		{"a watch out of order", func(b *kvtest.Bucket) *kvtest.Harness {
			s := reordered{b.Link()}
			return &kvtest.Harness{Store: s, Other: s}
		}, []string{"a watch reports the changes of a key in their order"}},
		{"a write that lands after its timeout", func(b *kvtest.Bucket) *kvtest.Harness {
			s := &lateWriter{Store: b.Link(), bucket: b}
			return &kvtest.Harness{Store: s, Other: b.Link(), Stall: func() func() {
				s.stalled.Store(true)
				return func() { s.stalled.Store(false) }
			}}
		}, []string{"a write without an answer lands before a later one is acknowledged, or never"}},
		{"a TTL that is cleared", func(b *kvtest.Bucket) *kvtest.Harness {
			s := forgetsTTL{b.Link()}
			return &kvtest.Harness{Store: s, Other: s}
		}, []string{"the TTL of the last write counts"}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := kvtest.New()
				defer b.Stop()
				found := failed(t.Context(), broken.breaks(b))
				for _, demand := range broken.found {
					if !slices.Contains(found, demand) {
						t.Errorf("the suite does not find it by %q, but by %q", demand, found)
					}
				}
			})
		})
	}
}

func TestTheBucketInMemoryMeetsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kvtest.New()
		defer b.Stop()
		s := b.Link()
		for _, demand := range failed(t.Context(), &kvtest.Harness{Store: s, Other: b.Link(), Stall: func() func() { s.Sever(); return s.Resume }}) {
			t.Errorf("%q does not hold", demand)
		}
	})
}
