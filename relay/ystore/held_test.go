package ystore

import (
	"errors"
	"runtime"
	"testing"
)

// shapes are documents that take more memory than they are long.
func shapes(t *testing.T) map[string]func() *Store {
	const n = 20_000
	build := func(of func(i uint64) []byte) func() *Store {
		return func() *Store {
			s := New(Limits{})
			for i := uint64(0); i < n; {
				u := appendUvarint(nil, 100)
				for range 100 {
					u = append(u, of(n-i)...) // the highest client comes first
					i++
				}
				if _, err := s.Apply(append(u, 0)); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
	}
	one := func(structs func(i uint64) []byte) func() *Store {
		return func() *Store {
			s := New(Limits{})
			for i := uint64(0); i < n; i += 100 {
				var all [][]byte
				for j := range uint64(100) {
					all = append(all, structs(i+j))
				}
				if _, err := s.Apply(update(nil, block(7, i, all...))); err != nil {
					t.Fatal(err)
				}
			}
			return s
		}
	}
	// in is a letter in the type with that id.
	in := func(client, clock uint64) []byte {
		b := appendUvarint(appendUvarint([]byte{kindString, 0}, client), clock)
		return append(b, 1, 'x')
	}
	shapes := map[string]func() *Store{
		"many client ids":          build(func(i uint64) []byte { return block(i, 0, text("x")) }),
		"many client ids, waiting": build(func(i uint64) []byte { return block(i, 5, after(i, 4, "x")) }),
		"many client ids that wait for each other's": build(func(i uint64) []byte {
			return block(i, 1, after(n+i, 9, "x"))
		}),
		"items in absent parents": one(func(i uint64) []byte { return in(9, 2*i) }),
		"GC and deleted in turn": one(func(i uint64) []byte {
			if i%2 == 0 {
				return gc(1)
			}
			return []byte{kindDeleted | hasOrigin, 9, 9, 1}
		}),
		"deletions ahead of their content": func() *Store {
			s := New(Limits{})
			must(t, s, update(every(7, 2, n)))
			return s
		},
		"every other letter deleted": func() *Store {
			s := New(Limits{})
			must(t, s, update(nil, block(7, 0, text(string(make([]byte, 2*n))))))
			must(t, s, update(every(7, 2, n)))
			return s
		},
		"one long text": func() *Store {
			s := New(Limits{})
			must(t, s, update(nil, block(7, 0, text(string(make([]byte, 20*n))))))
			return s
		},
	}
	return shapes
}

func liveHeap() int {
	var m runtime.MemStats
	for range 3 { // what pools keep goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestWhatADocumentTakesInMemoryIsCounted(t *testing.T) {
	for name, build := range shapes(t) {
		t.Run(name, func(t *testing.T) { isCounted(t, func() []*Store { return []*Store{build()} }) })
	}
	for _, name := range traces {
		updates := trace(t, name)
		t.Run("typing "+name, func(t *testing.T) {
			isCounted(t, func() (all []*Store) {
				for range 20 { // one is small beside what else is on the heap
					all = append(all, applyAll(t, updates))
				}
				return all
			})
			runtime.KeepAlive(updates)
		})
	}
}

func isCounted(t *testing.T, build func() []*Store) {
	before := liveHeap()
	all := build()
	took, counted, long := liveHeap()-before, 0, 0
	for _, s := range all {
		counted += s.Stats().Held
		long += s.Stats().Bytes
		check(t, s)
	}
	runtime.KeepAlive(build)
	if ratio := float64(counted) / float64(took); ratio < 1/1.5 || ratio > 1.5 {
		t.Errorf("counted %d bytes of the %d by which the heap grew; encoded %d", counted, took, long)
	}
}

func TestADocumentThatTakesMuchMoreMemoryThanItIsLongIsRefused(t *testing.T) {
	s := New(Limits{MaxBytes: 2 << 20})
	var err error
	for i := uint64(1); err == nil; i++ {
		if s.Stats().Bytes > 2<<20 {
			t.Fatalf("%+v", s.Stats())
		}
		_, err = s.Apply(update(nil, block(i, 0, text("x"))))
	}
	stats := s.Stats()
	if !errors.Is(err, ErrDocumentTooLarge) || stats.Held > heldTimes*2<<20+heldFree || stats.Held < heldTimes*2<<20 {
		t.Errorf("%+v: %v", stats, err)
	}
}
