package roster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func ids[T any](entries []Entry[T]) (ids []uint64) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestARosterListsWhatIsThereInTheOrderOfComing(t *testing.T) {
	var r Roster[int]
	r.Init(time.Now())
	there := map[uint64]int{}
	var order []uint64
	for i := range 5000 {
		if len(order) > 0 && rand.IntN(5) < 2 {
			at := rand.IntN(len(order))
			r.Remove(order[at])
			r.Remove(order[at]) // once is enough
			delete(there, order[at])
			order = slices.Delete(order, at, at+1)
			continue
		}
		id := r.Add(i)
		if len(order) > 0 && id <= order[len(order)-1] {
			t.Fatalf("id %d comes after %d", id, order[len(order)-1])
		}
		there[id], order = i, append(order, id)
	}
	if r.Len() != len(order) || len(r.All()) != len(order) {
		t.Fatalf("%d and %d listed of %d", r.Len(), len(r.All()), len(order))
	}
	if len(r.entries) > 2*len(order)+65 {
		t.Errorf("%d entries are kept for %d", len(r.entries), len(order))
	}
	var seen []uint64
	for after, more := uint64(0), true; more; {
		var found []Entry[int]
		found, more = r.After(after, 7)
		for _, e := range found {
			if e.Value != there[e.ID] {
				t.Fatalf("%d is %d, expected %d", e.ID, e.Value, there[e.ID])
			}
			after = e.ID
		}
		seen = append(seen, ids(found)...)
	}
	if !slices.Equal(seen, order) {
		t.Errorf("listed %d in pages, expected %d", len(seen), len(order))
	}
}

func TestIdsGrowOverRestartsAndStayExactInJSON(t *testing.T) {
	var before, after Roster[int]
	start := time.Now()
	before.Init(start)
	after.Init(start.Add(time.Second))
	var last uint64
	for range idsPerSecond - 1 {
		last = before.last + 1
		before.last = last
	}
	if first := after.Add(1); first <= last {
		t.Errorf("id %d after a restart, %d before it", first, last)
	}
	var far Roster[int]
	far.Init(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	if id := far.Add(1); id >= 1<<53 {
		t.Errorf("id %d is not exact in JSON", id)
	}
}
