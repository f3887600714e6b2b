package load

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func TestTextIsWhatYjsMakesOfTheSameUpdates(t *testing.T) {
	data, err := os.ReadFile("testdata/yjs.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text    string
		Updates [][]byte
		State   []byte
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		var all Text
		for _, update := range c.Updates {
			if err := all.Apply(update); err != nil {
				t.Fatal(err)
			}
		}
		if err := all.Check(); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		if got := all.String(); got != c.Text {
			t.Errorf("case %d, updates one by one:\n got %q\nwant %q", i, got, c.Text)
		}
		var state Text
		if err := state.Apply(c.State); err != nil {
			t.Fatal(err)
		}
		if got := state.String(); got != c.Text {
			t.Errorf("case %d, encoded state:\n got %q\nwant %q", i, got, c.Text)
		}
	}
}

func TestTextTellsWhatIsMissing(t *testing.T) {
	one, two := appendInsert(nil, id{5, 0}, nil, nil, []byte("a")), appendInsert(nil, id{5, 1}, &id{5, 0}, nil, []byte("b"))
	var text Text
	if err := text.Apply(two); err != nil {
		t.Fatal(err)
	}
	if text.Check() == nil {
		t.Error("a struct without its cause passes")
	}
	if err := text.Apply(appendDelete(nil, id{5, 1}, 1)); err != nil {
		t.Fatal(err)
	}
	if err := text.Apply(one); err != nil {
		t.Fatal(err)
	}
	if err := text.Check(); err != nil {
		t.Error(err)
	}
	if got := text.String(); got != "a" {
		t.Errorf("got %q, want %q", got, "a")
	}
}

func TestReadUpdateRefusesDamage(t *testing.T) {
	good := appendInsert(nil, id{1 << 31, 300}, &id{1 << 31, 299}, nil, []byte("x"))
	var nobody checkLengths
	for n := range good {
		if err := readUpdate(good[:n], &nobody); err == nil {
			t.Errorf("the first %d of %d bytes pass", n, len(good))
		}
	}
	if err := readUpdate(append(slices.Clone(good), 0), &nobody); err == nil {
		t.Error("bytes behind the update pass")
	}
	if err := readUpdate([]byte{1, 1, 1, 0, 7, 1, 1, 't', 0, 0}, &nobody); err == nil {
		t.Error("a nested type passes")
	}
}

// FuzzReadUpdate looks for bytes that make the reader panic.
func FuzzReadUpdate(f *testing.F) {
	f.Add(appendInsert(nil, id{9, 0}, nil, nil, []byte("hello")))
	f.Add(appendDelete(nil, id{9, 0}, 3))
	f.Fuzz(func(t *testing.T, update []byte) {
		var c checkLengths
		_ = readUpdate(update, &c)
	})
}

type checkLengths struct{}

func (*checkLengths) visitRun(r *run) {
	if r.content == text && int(r.length) != len(r.text) {
		panic("length")
	}
}

func (*checkLengths) visitDeletion(uint64, uint32, uint32) {}

func TestPreloadHasTheAskedSharesAndItsOwnText(t *testing.T) {
	r := &Runner{random: rand.New(rand.NewPCG(1, 2))}
	p := r.newPreload(JoinOptions{Edits: 5000, Deletes: 0.2, Writers: 3})
	if len(p.updates) != 5000 {
		t.Fatalf("%d edits", len(p.updates))
	}
	inserted := 0
	for _, clock := range p.clocks {
		inserted += int(clock)
	}
	if deleted := 5000 - inserted; deleted < 700 || deleted > 1300 {
		t.Errorf("%d of 5,000 edits delete, want about 1,000", deleted)
	}
	if err := p.truth.Check(); err != nil {
		t.Error(err)
	}
	if visible := len(p.truth.String()); visible != 2*inserted-5000 {
		t.Errorf("%d characters are visible of %d inserted", visible, inserted)
	}
}
