package oplog

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// growing is a history of a stored life as rooms and pods that fail make it.
type growing struct {
	recorded
	random  *rand.Rand
	room    ID
	counter uint64
	ends    []uint64 // where messages, whole or in parts, end
}

func (g *growing) append(message func(counter uint64) []byte) {
	g.counter++
	g.recorded = append(g.recorded, message(g.counter))
}

func (g *growing) base() Base {
	return Base{Store: "S", Version: string(rune('a' + g.random.IntN(26))), KeepDeleted: g.random.IntN(8) == 0}
}

// body is an update that no other one is like.
func (g *growing) body() []byte {
	return insert(byte(1+g.random.IntN(100)), string(rune('a'+g.random.IntN(26)))+string(rune('a'+g.random.IntN(26))))
}

// lost begins the history anew, as a stream that its servers have lost.
func (g *growing) lost() {
	g.recorded, g.room, g.counter, g.ends = nil, ID(g.random.Uint64()), 0, []uint64{0}
}

// step does something at random.
func (g *growing) step(t *testing.T) {
	defer func() { g.ends = append(g.ends, uint64(len(g.recorded))) }()
	switch g.random.IntN(12) {
	case 0:
		g.append(func(n uint64) []byte { return Kept.Append(nil, g.room, Seed, n, AppendBase(nil, g.base())) })
	case 1:
		g.append(func(n uint64) []byte { return Kept.Append(nil, g.room, Snapshot, n, snapshot(g.base(), g.body())) })
	case 2: // in parts, of which some are yet to come, or never do
		body := snapshot(g.base(), g.body())
		first, came := g.counter+1, 1+g.random.IntN(4)
		Split(body, (len(body)+3)/4, func(index, count int, piece []byte) {
			if g.counter++; index < came {
				g.recorded = append(g.recorded, Kept.AppendPart(nil, g.room, first+uint64(index), Part{First: first, Index: index, Count: count, Kind: Snapshot}, piece))
			}
		})
	case 3, 4:
		upTo := g.ends[g.random.IntN(len(g.ends))]
		purges := g.random.IntN(4) == 0
		g.append(func(n uint64) []byte {
			return Kept.Append(nil, g.room, Stored, n, AppendMark(nil, Mark{UpTo: upTo, Purges: purges, Base: g.base()}))
		})
		if purges {
			clear(g.recorded[:upTo])
		}
	case 5: // a compaction
		covered := g.covered(t)
		g.append(func(n uint64) []byte { return Kept.Append(nil, g.room, Snapshot, n, snapshot(g.base(), g.body())) })
		clear(g.recorded[:covered])
	case 6:
		if g.random.IntN(4) == 0 {
			g.lost()
		}
	default:
		g.append(func(n uint64) []byte { return Kept.Append(nil, g.room, Updates, n, g.body()) })
	}
}

// covered is up to where a room that reads all contains it.
func (g *growing) covered(t *testing.T) uint64 {
	found, _ := read(t, g.recorded)
	covered := found.Last
	for _, seq := range found.Starts {
		covered = min(covered, seq-1)
	}
	return covered
}

// Rules 2 and 3 are about what a reading found: one that goes on finds the same as one of
// the whole, whatever became of the history meanwhile.
func TestAReadingThatGoesOnFindsWhatAWholeOneDoes(t *testing.T) {
	wentOn := 0
	for seed := range uint64(60) {
		g := &growing{random: rand.New(rand.NewPCG(seed, 0))}
		g.lost()
		holds := map[string]bool{}
		var former *Reading
		for range 40 {
			for range g.random.IntN(4) {
				g.step(t)
			}
			took := 0
			got, next, err := LoadOn(t.Context(), g.recorded, "", former, func(_ Kind, body []byte, _ bool) {
				holds[string(body)] = true
				took++
			}, func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			whole, bodies := read(t, g.recorded)
			if took < len(bodies) {
				wentOn++
			}
			if former = next; next != nil && len(next.loaded.bases) > 1 {
				t.Fatalf("%d bases are kept", len(next.loaded.bases))
			}
			if got.Last != whole.Last || got.Clean() != whole.Clean() || got.Whole() != whole.Whole() || got.Ended != whole.Ended || !reflect.DeepEqual(got.Starts, whole.Starts) {
				t.Fatalf("seed %d: found %+v, the whole is %+v", seed, got, whole)
			}
			covered := g.covered(t)
			gotBase, gotPurged, gotOK := got.BaseAt(covered)
			base, purged, ok := whole.BaseAt(covered)
			if ok && (!gotOK || gotPurged != purged || !reflect.DeepEqual(gotBase, base)) {
				t.Fatalf("seed %d: at %d the base is %+v, of the whole %+v", seed, covered, gotBase, base)
			}
			if i := slices.IndexFunc(bodies, func(b []byte) bool { return !holds[string(b)] }); i >= 0 {
				t.Fatalf("seed %d: body %d was not read", seed, i)
			}
		}
	}
	if wentOn < 300 {
		t.Errorf("only %d readings went on", wentOn)
	}
}

// A history that was lost may have grown as far again: its messages are others.
func TestAReadingDoesNotGoOnInAnotherHistory(t *testing.T) {
	one, other := recorded{seed(Base{Store: "S"})}, recorded{seed(Base{Store: "S"})}
	for i := range uint64(5) {
		one = append(one, Kept.Append(nil, 1, Updates, i, insert(1, "one")))
		other = append(other, Kept.Append(nil, 2, Updates, i, insert(2, "two")))
	}
	none := func(Kind, []byte, bool) {}
	refuse := func(err error) { t.Error(err) }
	_, former, err := LoadOn(t.Context(), one[:4], "", nil, none, refuse)
	if err != nil || former == nil {
		t.Fatalf("went on from %v, %v", former, err)
	}
	for name, c := range map[string]struct {
		h    recorded
		took int
	}{
		"it has grown":                 {one, 2},
		"it is the same":               {one[:4], 0},
		"another one in its place":     {other, 5},
		"a shorter one":                {other[:2], 1},
		"nothing":                      {nil, 0},
		"what was read last is purged": {append(make(recorded, 4), one[4:]...), 2},
	} {
		took := 0
		found, _, err := LoadOn(t.Context(), c.h, "", former, func(Kind, []byte, bool) { took++ }, refuse)
		if err != nil || took != c.took || found.Last != uint64(len(c.h)) {
			t.Errorf("%s: took %d up to %d, expected %d up to %d: %v", name, took, found.Last, c.took, len(c.h), err)
		}
	}
}
