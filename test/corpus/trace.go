package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/wsnode/wsnode/relay/ystore"
)

// measurement is what one trace costs. Times are in nanoseconds, each the best of
// several runs: the others say more about the machine's other work.
type measurement struct {
	Updates          int     `json:"updates"`
	RawBytes         int     `json:"rawBytes"`     // of the updates
	CompactBytes     int     `json:"compactBytes"` // of the full state
	Structs          int     `json:"structs"`
	ApplyNsPerUpdate float64 `json:"applyNsPerUpdate"`
	EncodeNs         int64   `json:"encodeNs"`       // full state, just after an edit
	EncodeCachedNs   int64   `json:"encodeCachedNs"` // full state, again
	LoadNs           int64   `json:"loadNs"`         // of the full state into an empty document
	DiffNs           int64   `json:"diffNs"`         // for a client that lacks the last 10 updates
	HeapBytes        int64   `json:"heapBytes"`      // of the loaded document
}

func measure(file string) (m measurement, err error) {
	updates, err := readLog(file)
	if err != nil {
		return m, err
	}
	m.Updates = len(updates)
	for _, u := range updates {
		m.RawBytes += len(u)
	}
	state, stale := []byte{0, 0}, []byte{0}
	var apply, encode []int64
	for range 3 {
		runtime.GC()
		s := ystore.New(ystore.Limits{})
		start := time.Now()
		for i, u := range updates {
			if i == max(0, len(updates)-10) {
				stale = s.StateVector()
			}
			if _, err := s.Apply(u); err != nil {
				return m, fmt.Errorf("%s: update %d: %w", file, i, err)
			}
		}
		apply = append(apply, since(start))
		start = time.Now()
		state = s.Encode()
		encode = append(encode, since(start))
		m.Structs = s.Stats().Structs
	}
	m.CompactBytes = len(state)
	m.ApplyNsPerUpdate = float64(best(apply)) / float64(max(1, len(updates)))
	m.EncodeNs = best(encode)

	var load, diff, cached []int64
	for range 15 {
		s := ystore.New(ystore.Limits{})
		start := time.Now()
		if _, err := s.Apply(state); err != nil {
			return m, fmt.Errorf("%s: load: %w", file, err)
		}
		load = append(load, since(start))
		start = time.Now()
		if _, err := s.Diff(stale); err != nil {
			return m, fmt.Errorf("%s: difference: %w", file, err)
		}
		diff = append(diff, since(start))
		s.Encode()
		start = time.Now()
		for range 1000 {
			s.Encode()
		}
		cached = append(cached, since(start)/1000)
	}
	m.LoadNs, m.DiffNs, m.EncodeCachedNs = best(load), best(diff), best(cached)
	m.HeapBytes, err = heapOf(state)
	return m, err
}

// heapOf measures the heap that a document takes which was loaded from state.
func heapOf(state []byte) (int64, error) {
	const copies = 8
	stores := make([]*ystore.Store, copies)
	before := heap()
	for i := range stores {
		stores[i] = ystore.New(ystore.Limits{})
		if _, err := stores[i].Apply(state); err != nil {
			return 0, err
		}
	}
	after := heap()
	runtime.KeepAlive(stores)
	runtime.KeepAlive(state)
	return (after - before) / copies, nil
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 { // twice to empty pools, once more to settle
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func since(start time.Time) int64 { return time.Since(start).Nanoseconds() }

func best(v []int64) int64 { return slices.Min(v) }
