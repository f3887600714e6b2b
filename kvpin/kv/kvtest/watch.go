package kvtest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// watch is one time of a Watch between two breaks of its link.
type watch struct {
	filters []string
	changes chan kv.Entry
	lost    chan struct{} // closed when the link breaks
	once    sync.Once
}

func (w *watch) lose() { w.once.Do(func() { close(w.lost) }) }

func (w *watch) wants(key string) bool {
	return slices.ContainsFunc(w.filters, func(f string) bool { return matches(f, key) })
}

// Watch implements kv.Store.
func (s *Store) Watch(ctx context.Context, filters []string, handle func(kv.Change)) {
	known := make(map[string]struct{})
	for ctx.Err() == nil {
		if s.IsCut() {
			pause.For(ctx, time.Second)
			continue
		}
		s.watchOnce(ctx, filters, known, handle)
	}
}

// begin registers a watch. first is what there is; missing are those of the known keys
// that are gone.
func (s *Store) begin(w *watch, known map[string]struct{}) (first []kv.Entry, missing map[string]struct{}) {
	s.mu.Lock()
	s.watches[w] = struct{}{}
	s.mu.Unlock()
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	missing = maps.Clone(known)
	for _, name := range slices.Sorted(maps.Keys(s.bucket.keys)) {
		if k := s.bucket.keys[name]; w.wants(name) {
			first = append(first, k.Entry)
			if k.Present {
				delete(missing, name)
			}
		}
	}
	s.bucket.watchers[w] = struct{}{}
	return first, missing
}

func (s *Store) end(w *watch) {
	s.mu.Lock()
	delete(s.watches, w)
	s.mu.Unlock()
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	delete(s.bucket.watchers, w)
}

// watchOnce reports until the link breaks; known are the keys last reported as
// present.
func (s *Store) watchOnce(ctx context.Context, filters []string, known map[string]struct{}, handle func(kv.Change)) {
	w := &watch{filters: filters, changes: make(chan kv.Entry, 100_000), lost: make(chan struct{})}
	first, missing := s.begin(w, known)
	defer s.end(w)
	report := func(e kv.Entry) {
		if e.Present {
			known[e.Key] = struct{}{}
		} else {
			delete(known, e.Key)
		}
		handle(kv.Change{Entry: e})
	}
	for name := range missing {
		report(kv.Entry{Key: name})
	}
	for _, e := range first {
		report(e)
	}
	handle(kv.Change{Synced: true})
	for {
		select {
		case e := <-w.changes:
			if s.IsCut() {
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
