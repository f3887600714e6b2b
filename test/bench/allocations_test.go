//go:build !race

package main

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

func TestNothingAllocatesMoreOftenThanFormerly(t *testing.T) {
	recorded, err := readAllocations("allocations.txt")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	now := &side{root: here, built: t.TempDir(), corpora: filepath.Join(here, "test", "corpus", "data")}
	least, more := counts{}, recorded
	for range tries {
		found, err := now.count(more)
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
