package kvtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Outcome is what becomes of one request on a link.
type Outcome int

// What can become of a request.
const (
	Passes    Outcome = iota
	Lost              // it never arrives
	ReplyLost         // it arrives, its answer does not
	Late              // its caller gives up, the connection breaks, and later it arrives
)

// Fault decides about one request.
type Fault struct {
	Outcome Outcome
	Delay   time.Duration // before anything becomes of it
	LateBy  time.Duration // how long after its caller gave up a late write arrives; 0: 3 s
}

// silence is how long Scan waits for an answer.
const silence = 6 * time.Second

// Store is one node's link to a Bucket.
type Store struct {
	bucket *Bucket

	faults sync.Mutex // held while fault is called, and guards it
	fault  func(write bool, key string) Fault

	mu          sync.Mutex
	incarnation uint64
	cut         bool
	held        []func()     // writes that wait in a cut link
	late        []*lateWrite // in the order in which they were sent
	watches     map[*watch]struct{}
}

// lateWrite is one whose caller has given up.
type lateWrite struct {
	timer *time.Timer
	write func()
}

// Link makes a link to the bucket.
func (b *Bucket) Link() *Store {
	return &Store{bucket: b, watches: make(map[*watch]struct{})}
}

// SetFault has f decide about each request, in turn; nil lets everything pass.
func (s *Store) SetFault(f func(write bool, key string) Fault) {
	s.faults.Lock()
	defer s.faults.Unlock()
	s.fault = f
}

// Once makes the next request that fits meet with a fault, and the others pass.
func (s *Store) Once(f Fault, write bool, prefix string) {
	done := false
	s.SetFault(func(w bool, key string) Fault {
		if !done && w == write && strings.HasPrefix(key, prefix) {
			done = true
			return f
		}
		return Fault{}
	})
}

// Incarnation implements kv.Store.
func (s *Store) Incarnation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incarnation
}

// Reconnect breaks the link and makes it again.
func (s *Store) Reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation++
	for w := range s.watches {
		w.lose()
	}
}

// Sever makes the link a black hole: what is sent waits in it.
func (s *Store) Sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// Resume delivers what waited in the link, and what would be late, and makes it pass what
// follows.
func (s *Store) Resume() {
	s.mu.Lock()
	var arriving []func()
	for _, l := range s.late {
		if l.timer.Stop() {
			arriving = append(arriving, l.write)
		}
	}
	arriving = append(arriving, s.held...)
	s.late, s.held, s.cut = nil, nil, false
	s.mu.Unlock()
	for _, arrive := range arriving {
		arrive()
	}
}

// later delivers a write after a while, or when the link is resumed.
func (s *Store) later(by time.Duration, write func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, &lateWrite{time.AfterFunc(by, write), write})
}

// Heal delivers what waited in the link and makes a new one.
func (s *Store) Heal() {
	s.Resume()
	s.Reconnect()
}

// IsCut reports whether the link is severed.
func (s *Store) IsCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

func (s *Store) decide(write bool, key string) Fault {
	s.faults.Lock()
	defer s.faults.Unlock()
	if s.fault == nil {
		return Fault{}
	}
	return s.fault(write, key)
}

// pass decides about a request. write is what arrives late, nil for reads.
func (s *Store) pass(ctx context.Context, key string, write func()) (answered bool) {
	f := s.decide(write != nil, key)
	if f.Delay > 0 {
		pause.For(ctx, f.Delay)
	}
	s.mu.Lock()
	if s.cut {
		if write != nil {
			s.held = append(s.held, write)
		}
		f.Outcome = Lost
	}
	s.mu.Unlock()
	switch {
	case f.Outcome == Passes && ctx.Err() == nil:
		return true
	case f.Outcome == ReplyLost && write != nil && ctx.Err() == nil:
		write()
	case f.Outcome == Late && write != nil:
		<-ctx.Done()
		if f.LateBy == 0 {
			f.LateBy = 3 * time.Second
		}
		s.later(f.LateBy, write)
		defer s.Reconnect()
	}
	<-ctx.Done()
	return false
}

// Get implements kv.Store.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, error) {
	if !s.pass(ctx, key, nil) {
		return kv.Entry{}, fmt.Errorf("%w: %w", kv.ErrUnavailable, ctx.Err())
	}
	return s.bucket.Get(key), nil
}

// Now implements kv.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if !s.pass(ctx, "", nil) {
		return time.Time{}, fmt.Errorf("%w: %w", kv.ErrUnavailable, ctx.Err())
	}
	return time.Now(), nil
}

// Put implements kv.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	return s.write(ctx, key, value, true, expect, ttl)
}

// Delete implements kv.Store.
func (s *Store) Delete(ctx context.Context, key string, expect uint64) error {
	_, err := s.write(ctx, key, nil, false, expect, kv.MarkerTTL)
	return err
}

func (s *Store) write(ctx context.Context, key string, value []byte, present bool, expect uint64, ttl time.Duration) (uint64, error) {
	if !s.pass(ctx, key, func() { _, _ = s.bucket.put(key, value, present, expect, ttl) }) {
		return 0, fmt.Errorf("%w: %w", kv.ErrUnsettled, ctx.Err())
	}
	return s.bucket.put(key, value, present, expect, ttl.Truncate(time.Second))
}

// Scan implements kv.Store.
func (s *Store) Scan(ctx context.Context, filter string, handle func(kv.Entry) error) error {
	within, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if !s.pass(within, filter, nil) {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, within.Err())
	}
	keys, _ := s.bucket.Snapshot()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if matches(filter, name) {
			if err := handle(keys[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
