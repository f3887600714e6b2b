//go:build !race

package main

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// meant are the counts of benchmarks that are meant to allocate more often than
// allocations.txt says, with the reason.
var meant = counts{
	// In the 8,000 updates of this session, leaves grow twice more since their entries say
	// where an item lies.
	"relay/ystore Apply/reloads": 334,
}

func TestNothingAllocatesMoreOftenThanFormerly(t *testing.T) {
	recorded, err := readAllocations("allocations.txt")
	if err != nil {
		t.Fatal(err)
	}
	for key, n := range meant {
		if before, ok := recorded[key]; !ok || n <= before {
			t.Errorf("%s is meant to allocate %.0f times, which is not more often than formerly: %.0f", key, n, before)
		}
		recorded[key] = n
	}
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	now := newSide(here, t.TempDir(), filepath.Join(here, "test", "corpus", "data"))
	least, more := counts{}, recorded
	for range tries {
		found, err := now.count(false, more)
		if err != nil {
			t.Fatal(err)
		}
		least.keepLeast(found)
		more = counts{}
		for key, before := range recorded {
			if n, ok := least[key]; !ok {
				t.Fatalf("%s is recorded in allocations.txt, and not there any more", key)
			} else if n > before {
				more[key] = before
			}
		}
		if len(more) == 0 {
			return
		}
	}
	for _, key := range slices.Sorted(maps.Keys(more)) {
		t.Errorf("%s allocates %.0f times an operation, which may be %.0f", key, least[key], recorded[key])
	}
}
