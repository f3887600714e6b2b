package oplog

import (
	"errors"
	"reflect"
	"slices"
	"testing"
)

func seed(b Base) []byte { return Kept.Append(nil, 1, Seed, 1, AppendBase(nil, b)) }

func mark(upTo uint64, b Base) []byte {
	return Kept.Append(nil, 1, Stored, 1, AppendMark(nil, Mark{UpTo: upTo, Base: b}))
}

func snapshot(b Base, update []byte) []byte { return append(AppendBase(nil, b), update...) }

func read(t *testing.T, h recorded) (Loaded, [][]byte) {
	t.Helper()
	var updates [][]byte
	loaded, err := Load(t.Context(), h, "", func(_ Kind, body []byte, _ bool) { updates = append(updates, body) }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return loaded, updates
}

func TestReadersHonourEveryBaseThatTheyMeet(t *testing.T) {
	one := Base{Store: "S", Generation: 1 << 60, Version: "v1", KeepDeleted: true, Covers: []byte{0}}
	two, three := Base{Store: "S", Version: "v2"}, Base{Store: "S", Version: "v3"}
	update := insert(1, "one")
	h := recorded{seed(one), Kept.Append(nil, 1, Updates, 2, update)}
	Split(snapshot(two, update), 8, func(index, count int, piece []byte) {
		h = append(h, Kept.AppendPart(nil, 1, 3+uint64(index), Part{First: 3, Index: index, Count: count, Kind: Snapshot}, piece))
	})
	last := uint64(len(h))
	h = append(h, mark(2, three))
	loaded, updates := read(t, h)
	for seq, expected := range map[uint64]Base{1: one, last - 1: one, last: two, last + 1: three} {
		if got, purged, ok := loaded.BaseAt(seq); !ok || purged || !reflect.DeepEqual(got, expected) {
			t.Errorf("at %d the base is %+v, expected %+v", seq, got, expected)
		}
	}
	if _, _, ok := loaded.BaseAt(0); ok {
		t.Error("there is a base before the first message")
	}
	if len(updates) != 2 || string(updates[1]) != string(update) || !loaded.Whole() {
		t.Errorf("took %q", updates)
	}
	incomplete, _ := read(t, h[:last-1])
	if got, _ := incomplete.Base(); !reflect.DeepEqual(got, one) || incomplete.Whole() {
		t.Errorf("half a snapshot gives the base %+v", got)
	}
}

// The rule by which a life ends: what stands above what is stored is owed, whatever
// else follows.
func TestALifeIsCleanWhenNothingStandsAboveWhatIsStored(t *testing.T) {
	b := Base{Store: "S", Version: "v1"}
	update := Kept.Append(nil, 1, Updates, 1, insert(1, "one"))
	part := Kept.AppendPart(nil, 2, 1, Part{First: 1, Count: 2, Kind: Updates}, []byte("x"))
	for name, c := range map[string]struct {
		h     recorded
		clean bool
	}{
		"nothing":                       {nil, true},
		"a seed":                        {recorded{seed(b)}, true},
		"an edit":                       {recorded{seed(b), update}, false},
		"a stored edit":                 {recorded{seed(b), update, mark(2, b)}, true},
		"an edit before the word of it": {recorded{seed(b), update, update, mark(2, b)}, false},
		"an edit behind the word of it": {recorded{seed(b), update, mark(2, b), update}, false},
		"a mark of less after":          {recorded{seed(b), update, mark(2, b), mark(1, b)}, true},
		"a snapshot":                    {recorded{seed(b), update, mark(2, b), Kept.Append(nil, 1, Snapshot, 1, snapshot(b, insert(1, "one")))}, false},
		"half a message":                {recorded{seed(b), update, mark(2, b), part}, false},
		"the word of a lost stream":     {recorded{seed(b), update, mark(3, b)}, false},
	} {
		if loaded, _ := read(t, c.h); loaded.Clean() != c.clean {
			t.Errorf("%s: clean is %v", name, loaded.Clean())
		}
	}
}

func TestWhatIsNotKnownEndsTheReading(t *testing.T) {
	later := Kept.Append(nil, 1, Stored+1, 1, nil)
	for name, m := range map[string][]byte{
		"a kind":         later,
		"a part of one":  Kept.AppendPart(nil, 1, 1, Part{First: 1, Count: 2, Kind: Stored + 1}, nil),
		"a base's flags": Kept.Append(nil, 1, Seed, 1, append(AppendBase(nil, Base{})[:10], 3, 0)),
		"a broken mark":  Kept.Append(nil, 1, Stored, 1, []byte{1}),
		"a broken one":   Kept.Append(nil, 1, Updates, 1, nil)[:headerSize],
	} {
		_, err := Load(t.Context(), recorded{m}, "", func(Kind, []byte, bool) { t.Errorf("%s was taken", name) }, func(error) { t.Errorf("%s was passed over", name) })
		if err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, err := Read(later); !errors.As(err, new(*KindError)) {
		t.Errorf("got %v", err)
	}
}

// A document that is too large for its history is purged from it: a snapshot that was
// read before does not make the rest whole.
func TestWhatAMarkHasPurgedIsNotWhole(t *testing.T) {
	b := Base{Store: "S", Version: "v1"}
	h := recorded{Kept.Append(nil, 1, Snapshot, 1, snapshot(b, insert(1, "one")))}
	h = append(h, Kept.Append(nil, 1, Stored, 2, AppendMark(nil, Mark{UpTo: 1, Purges: true, Base: b})))
	loaded, _ := read(t, h)
	if _, purged, _ := loaded.BaseAt(2); !purged || loaded.Whole() {
		t.Error("what was purged counts as whole")
	}
	if loaded, _ := read(t, h[:1]); !loaded.Whole() {
		t.Error("a snapshot is not whole")
	}
}

// Nor does it count as what a compaction would take away.
func TestWhatAMarkHasPurgedIsNoBacklog(t *testing.T) {
	b := Base{Store: "S", Version: "v1"}
	update := Kept.Append(nil, 1, Updates, 1, insert(1, "one"))
	purging := Kept.Append(nil, 1, Stored, 4, AppendMark(nil, Mark{UpTo: 3, Purges: true, Base: b}))
	if loaded, _ := read(t, recorded{seed(b), update, update, purging, update}); loaded.Messages != 1 || loaded.Size != len(insert(1, "one")) {
		t.Errorf("%d messages of %d bytes stand behind a mark that purges, expected one", loaded.Messages, loaded.Size)
	}
	if loaded, _ := read(t, recorded{seed(b), update, update, mark(3, b), update}); loaded.Messages != 3 {
		t.Errorf("%d messages stand behind a mark that does not, expected 3", loaded.Messages)
	}
}

// What stands before the first base, as a compaction leaves it, is read as the base says;
// once deleted content is kept in a history, it stays so.
func TestWhatIsReadIsKeptFromTheFirstBaseThatSaysSo(t *testing.T) {
	keeping, not := Base{Store: "S", KeepDeleted: true}, Base{Store: "S"}
	update := Kept.Append(nil, 1, Updates, 1, insert(1, "one"))
	for name, c := range map[string]struct {
		h    recorded
		keep []bool
	}{
		"no base":           {recorded{update}, []bool{false}},
		"a seed":            {recorded{seed(keeping), update}, []bool{true}},
		"one that does not": {recorded{seed(not), update}, []bool{false}},
		"compacted":         {recorded{update, update, Kept.Append(nil, 1, Snapshot, 1, snapshot(keeping, insert(1, "one")))}, []bool{true, true, true}},
		"later":             {recorded{seed(not), update, mark(2, keeping), update, mark(4, not), update}, []bool{false, true, true}},
		"in another life":   {recorded{Plain.Append(nil, 1, Updates, 1, insert(1, "one"))}, []bool{false}},
	} {
		var got []bool
		if _, err := Load(t.Context(), c.h, "", func(_ Kind, _ []byte, keep bool) { got = append(got, keep) }, func(err error) { t.Error(err) }); err != nil || !slices.Equal(got, c.keep) {
			t.Errorf("%s: %v, expected %v: %v", name, got, c.keep, err)
		}
	}
}

// A version that would lose what is kept wrote 1 into the flags of such a base, and
// refuses all above it.
func TestABaseThatKeepsIsRefusedByVersionsThatDoNot(t *testing.T) {
	b := AppendBase(nil, Base{KeepDeleted: true})
	if flags := b[10]; flags != 2 {
		t.Errorf("the flags are %d", flags)
	}
	b[10] = 1
	if got, _, err := ReadBase(b); err != nil || !got.KeepDeleted {
		t.Errorf("one of that version is read as %+v, %v", got, err)
	}
}
