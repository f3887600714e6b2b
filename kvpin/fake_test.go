package kvpin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// fakeBucket is a bucket in memory, with keys that expire by the test's clock.
type fakeBucket struct {
	mu       sync.Mutex
	last     uint64
	keys     map[string]*fakeKey
	watchers map[*fakeWatch]struct{}
	writes   map[string]int // by the first token of the key
}

type fakeKey struct {
	entry
	expiry *time.Timer
}

type fakeWatch struct {
	filters []string
	changes chan entry
	lost    chan struct{} // closed when the link breaks
	once    sync.Once
}

func newFakeBucket() *fakeBucket {
	return &fakeBucket{keys: make(map[string]*fakeKey), watchers: make(map[*fakeWatch]struct{}), writes: make(map[string]int)}
}

func (f *fakeBucket) get(key string) entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.keys[key]; k != nil {
		return k.entry
	}
	return entry{Key: key}
}

// put applies a write. present false writes a marker.
func (f *fakeBucket) put(key string, value []byte, present bool, expect uint64, ttl time.Duration) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var have uint64
	if k := f.keys[key]; k != nil {
		have = k.Revision
	}
	if have != expect {
		return 0, fmt.Errorf("%w: %s is at %d, expected %d", ErrConflict, key, have, expect)
	}
	token, _, _ := strings.Cut(key, ".")
	f.writes[token]++
	return f.setLocked(key, value, present, ttl), nil
}

func (f *fakeBucket) setLocked(key string, value []byte, present bool, ttl time.Duration) uint64 {
	if k := f.keys[key]; k != nil && k.expiry != nil {
		k.expiry.Stop()
	}
	f.last++
	k := &fakeKey{entry: entry{Key: key, Value: slices.Clone(value), Revision: f.last, Present: present, Written: time.Now()}}
	f.keys[key] = k
	if ttl > 0 {
		k.expiry = time.AfterFunc(ttl, func() { f.expire(k) })
	}
	for w := range f.watchers {
		if w.wants(key) {
			w.changes <- k.entry
		}
	}
	return f.last
}

// expire leaves a marker in place of a key, and nothing in place of a marker.
func (f *fakeBucket) expire(k *fakeKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[k.Key] != k {
		return
	}
	if k.Present {
		f.setLocked(k.Key, nil, false, markerTTL)
	} else {
		delete(f.keys, k.Key)
	}
}

// snapshot copies the keys; restore puts them back as they were, with the sequence
// going back as well. Expiries are not kept: the test decides.
func (f *fakeBucket) snapshot() (keys map[string]entry, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys = make(map[string]entry)
	for key, k := range f.keys {
		keys[key] = k.entry
	}
	return keys, f.last
}

func (f *fakeBucket) restore(keys map[string]entry, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if k.expiry != nil {
			k.expiry.Stop()
		}
	}
	f.last = last
	f.keys = make(map[string]*fakeKey)
	for key, e := range keys {
		f.keys[key] = &fakeKey{entry: e}
		if strings.HasPrefix(key, leasePrefix) { // restored with what is left of its TTL
			k := f.keys[key]
			k.expiry = time.AfterFunc(5*time.Second, func() { f.expire(k) })
		}
	}
	for w := range f.watchers {
		w.lose()
	}
}

// written returns the number of writes to keys that begin with a token.
func (f *fakeBucket) written(token string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes[token]
}

// pins returns the pins that exist.
func (f *fakeBucket) pins() map[string]Pin {
	f.mu.Lock()
	defer f.mu.Unlock()
	pins := make(map[string]Pin)
	for key, k := range f.keys {
		if k.Present && strings.HasPrefix(key, "pin.") {
			p, err := decodePin(k.entry)
			if err != nil {
				panic(err)
			}
			pins[key] = p
		}
	}
	return pins
}

func (f *fakeBucket) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if k.expiry != nil {
			k.expiry.Stop()
		}
	}
}

func (w *fakeWatch) lose() { w.once.Do(func() { close(w.lost) }) }

func (w *fakeWatch) wants(key string) bool {
	return slices.ContainsFunc(w.filters, func(f string) bool { return matches(f, key) })
}

// matches is NATS subject matching.
func matches(filter, key string) bool {
	f, k := strings.Split(filter, "."), strings.Split(key, ".")
	for i, token := range f {
		if token == ">" {
			return len(k) > i
		}
		if i >= len(k) || token != "*" && token != k[i] {
			return false
		}
	}
	return len(f) == len(k)
}

// outcome is what becomes of one request on a fake link.
type outcome int

const (
	passes    outcome = iota
	lost              // never arrives
	replyLost         // arrives, its answer does not
	late              // its caller gives up, the connection breaks, and later it arrives
)

// fakeStore is one node's link to a fake bucket.
type fakeStore struct {
	bucket *fakeBucket
	// faults guards fault and the state that it keeps.
	faults sync.Mutex
	// fault decides about each write and read; nil lets everything pass.
	fault func(write bool, key string) (o outcome, delay time.Duration)
	// lateBy is how much later than its caller waited a late write arrives.
	lateBy time.Duration

	mu          sync.Mutex
	incarnation uint64
	cut         bool
	held        []func() // writes that wait in a cut link
	watches     map[*fakeWatch]struct{}
}

func (f *fakeBucket) link() *fakeStore {
	return &fakeStore{bucket: f, lateBy: 3 * time.Second, watches: make(map[*fakeWatch]struct{})}
}

func (s *fakeStore) Incarnation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.incarnation
}

// reconnect breaks the link and makes it again.
func (s *fakeStore) reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation++
	for w := range s.watches {
		w.lose()
	}
}

// sever makes the link a black hole: what is sent waits in it.
func (s *fakeStore) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// heal delivers what waited in the link and makes a new one.
func (s *fakeStore) heal() {
	s.mu.Lock()
	held := s.held
	s.held, s.cut = nil, false
	s.mu.Unlock()
	for _, arrive := range held {
		arrive()
	}
	s.reconnect()
}

func (s *fakeStore) isCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// pass decides about a request. write is what arrives late, nil for reads.
func (s *fakeStore) pass(ctx context.Context, key string, write func()) (answered bool) {
	o, delay := passes, time.Duration(0)
	s.faults.Lock()
	if s.fault != nil {
		o, delay = s.fault(write != nil, key)
	}
	lateBy := s.lateBy
	s.faults.Unlock()
	if delay > 0 {
		pause(ctx, delay, delay)
	}
	s.mu.Lock()
	if s.cut {
		if write != nil {
			s.held = append(s.held, write)
		}
		o = lost
	}
	s.mu.Unlock()
	switch {
	case o == passes && ctx.Err() == nil:
		return true
	case o == replyLost && write != nil && ctx.Err() == nil:
		write()
	case o == late && write != nil:
		<-ctx.Done()
		time.AfterFunc(lateBy, write)
		defer s.reconnect()
	}
	<-ctx.Done()
	return false
}

func (s *fakeStore) Get(ctx context.Context, key string) (entry, error) {
	if !s.pass(ctx, key, nil) {
		return entry{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return s.bucket.get(key), nil
}

func (s *fakeStore) Now(ctx context.Context) (time.Time, error) {
	if !s.pass(ctx, "", nil) {
		return time.Time{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return time.Now(), nil
}

func (s *fakeStore) Put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	return s.write(ctx, key, value, true, expect, ttl)
}

func (s *fakeStore) Delete(ctx context.Context, key string, expect uint64) error {
	_, err := s.write(ctx, key, nil, false, expect, markerTTL)
	return err
}

func (s *fakeStore) write(ctx context.Context, key string, value []byte, present bool, expect uint64, ttl time.Duration) (uint64, error) {
	if !s.pass(ctx, key, func() { _, _ = s.bucket.put(key, value, present, expect, ttl) }) {
		return 0, fmt.Errorf("%w: %w", ErrUnsettled, ctx.Err())
	}
	return s.bucket.put(key, value, present, expect, ttl.Truncate(time.Second))
}

func (s *fakeStore) Scan(ctx context.Context, filter string, handle func(entry) error) error {
	silent, cancel := context.WithTimeout(ctx, pageSilence)
	defer cancel()
	if !s.pass(silent, filter, nil) {
		return fmt.Errorf("%w: %w", ErrUnavailable, silent.Err())
	}
	keys, _ := s.bucket.snapshot()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if matches(filter, key) {
			if err := handle(keys[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *fakeStore) Watch(ctx context.Context, filters []string, handle func(change)) {
	known := make(map[string]struct{})
	for ctx.Err() == nil {
		if s.isCut() {
			pause(ctx, time.Second, time.Second)
			continue
		}
		s.watchOnce(ctx, filters, known, handle)
	}
}

// watchOnce reports until the link breaks; known are the keys last reported as
// present.
func (s *fakeStore) watchOnce(ctx context.Context, filters []string, known map[string]struct{}, handle func(change)) {
	w := &fakeWatch{filters: filters, changes: make(chan entry, 100_000), lost: make(chan struct{})}
	s.mu.Lock()
	s.watches[w] = struct{}{}
	s.mu.Unlock()
	s.bucket.mu.Lock()
	var first []entry
	missing := maps.Clone(known)
	for _, key := range slices.Sorted(maps.Keys(s.bucket.keys)) {
		if k := s.bucket.keys[key]; w.wants(key) {
			first = append(first, k.entry)
			if k.Present {
				delete(missing, key)
			}
		}
	}
	s.bucket.watchers[w] = struct{}{}
	s.bucket.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watches, w)
		s.mu.Unlock()
		s.bucket.mu.Lock()
		delete(s.bucket.watchers, w)
		s.bucket.mu.Unlock()
	}()
	report := func(e entry) {
		if e.Present {
			known[e.Key] = struct{}{}
		} else {
			delete(known, e.Key)
		}
		handle(change{entry: e})
	}
	for key := range missing {
		report(entry{Key: key})
	}
	for _, e := range first {
		report(e)
	}
	handle(change{Synced: true})
	for {
		select {
		case e := <-w.changes:
			if s.isCut() {
				return
			}
			report(e)
		case <-w.lost:
			return
		case <-ctx.Done():
			return
		}
	}
}
