package ystore

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// seeds calls add with updates of the corpora: malformed ones and, of every
// tenth random case, the first few and its state.
func seeds(f *testing.F, add func(update, sv []byte)) {
	f.Helper()
	for dec := json.NewDecoder(dataFile(f, "malformed.jsonl")); ; {
		var c struct{ Update []byte }
		if dec.Decode(&c) != nil {
			break
		}
		if len(c.Update) < 1<<12 {
			add(c.Update, []byte{0})
		}
	}
	for i, c := range cases(f) {
		if i%10 != 0 || len(c.State) > 1<<13 {
			continue
		}
		sv := []byte{0}
		if len(c.Peers) > 0 {
			sv = c.Peers[0].SV
		}
		add(c.State, sv)
		for _, u := range c.Log[:min(3, len(c.Log))] {
			add(u, sv)
		}
	}
}

// busy is a document for fuzzed updates to meet.
func busy() *Store {
	s := New(Limits{})
	for _, u := range []string{
		"\x01\x01\x01\x00\x04\x01\x01t\x05hello\x00",                               // 1:0-5 in root t
		"\x01\x01\x01\x08\x84\x01\x04\x05world\x00",                                // a gap, then 1:8-13
		"\x01\x02\x02\x00\x07\x01\x01m\x01\x08\x00\x02\x00\x03}\x01}\x02}\x03\x00", // a type, values in it
		"\x00\x01\x01\x02\x02\x02\x09\x01",                                         // deletions, known and ahead
	} {
		if _, err := s.Apply([]byte(u)); err != nil {
			panic(err)
		}
	}
	return s
}

// keeping has a store keep what is deleted from now on.
func keeping(s *Store) *Store {
	s.Keep()
	return s
}

func check(t *testing.T, s *Store) {
	t.Helper()
	if err := verify(s); err != nil {
		t.Fatal(err)
	}
}

// FuzzApply feeds one update to an empty document and to a busy one. Taken apart it makes the
// same.
func FuzzApply(f *testing.F) {
	seeds(f, func(update, _ []byte) { f.Add(update) })
	f.Fuzz(func(t *testing.T, update []byte) {
		if len(update) > 0 && update[0] < 0x80 {
			alike(t, update, New(Limits{}), New(Limits{}))
			alike(t, update, busy(), busy())
		}
		for _, s := range []*Store{New(Limits{}), busy(), keeping(New(Limits{})), keeping(busy())} {
			check(t, s)
			sv, digest, stats := s.StateVector(), s.DeleteDigest(), s.Stats()
			state := bytes.Clone(s.Encode())
			given := bytes.Clone(update)
			brings, err := s.Brings(update)
			if sound, left, failed := s.Sound(update); failed != nil && err == nil || failed == nil && left == nil && err != nil &&
				!strings.Contains(err.Error(), "blocks") && !strings.Contains(err.Error(), "circle") && !strings.Contains(err.Error(), "types nested") {
				t.Fatalf("sound: %x, left %v, %v; Brings: %v", sound, left, failed, err)
			} else if sound != nil {
				if _, left, err := s.Sound(sound); left != nil || err != nil {
					t.Fatalf("sound part: left %v, %v", left, err)
				}
			}
			fresh, again := s.Apply(update)
			check(t, s)
			if (err == nil) != (again == nil) || err == nil && brings != (fresh != nil) {
				t.Fatalf("Brings: %v %v, Apply: %d bytes, %v", brings, err, len(fresh), again)
			}
			if !bytes.Equal(given, update) {
				t.Fatal("update was changed")
			}
			if fresh == nil {
				if !bytes.Equal(s.StateVector(), sv) || s.DeleteDigest() != digest || s.Stats() != stats || !bytes.Equal(s.Encode(), state) {
					t.Fatal("document was changed")
				}
				continue
			}
			if got := s.totals.bytes + 16*(s.totals.entries+s.totals.deleted); got > 32*(len(update)+100) {
				t.Fatalf("%d bytes of update became %d", len(update), got)
			}
			if more, err := s.Apply(update); more != nil || err != nil {
				t.Fatalf("again it brings %d bytes: %v", len(more), err)
			}
			roundTrip(t, s)
		}
	})
}

// roundTrip loads the state into an empty document and compares.
func roundTrip(t *testing.T, s *Store) {
	t.Helper()
	o := New(Limits{})
	o.keep = s.keep
	if _, err := o.Apply(s.Encode()); err != nil {
		t.Fatalf("own state: %v", err)
	}
	check(t, o)
	same(t, "loaded", s, o)
	if again, err := o.Apply(s.Encode()); again != nil || err != nil {
		t.Fatalf("own state brings %d bytes: %v", len(again), err)
	}
}

// FuzzOrder cuts its input into updates and applies them in two orders; one
// replica hears only what was new.
func FuzzOrder(f *testing.F) {
	seeds(f, func(update, sv []byte) { f.Add(update, update, sv) })
	var last []byte
	seeds(f, func(update, _ []byte) {
		if last != nil {
			f.Add(last, update, last)
		}
		last = update
	})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		for _, keep := range []bool{false, true} {
			testOrder(t, keep, a, b, c)
		}
	})
}

func testOrder(t *testing.T, keep bool, a, b, c []byte) {
	circle := func(err error) bool { return err != nil && strings.Contains(err.Error(), "circle") }
	one, two, replica := New(Limits{}), New(Limits{}), New(Limits{})
	one.keep, two.keep, replica.keep = keep, keep, keep
	for _, u := range [][]byte{a, b, c} {
		fresh, err := one.Apply(u)
		check(t, one)
		if circle(err) {
			return // which of those that close it comes last, and is refused, the order says
		}
		if err == nil && fresh != nil {
			if more, err := replica.Apply(fresh); more == nil || err != nil {
				t.Fatalf("what was new brings %d bytes: %v", len(more), err)
			}
			check(t, replica)
		}
	}
	for _, u := range [][]byte{c, b, a} {
		_, err := two.Apply(u)
		check(t, two)
		if circle(err) {
			return
		}
	}
	for name, o := range map[string]*Store{"other order": two, "replica": replica} {
		if !bytes.Equal(one.StateVector(), o.StateVector()) {
			t.Fatalf("%s: other state vector", name)
		}
		// Where an id means two things, which one came first decides under which key others
		// lie. Stores that exchange what they know agree about deletions even then.
		exchange(t, one, o)
		if one.DeleteDigest() != o.DeleteDigest() {
			t.Fatalf("%s: other deletions", name)
		}
	}
}

func exchange(t *testing.T, a, b *Store) {
	t.Helper()
	for range 2 {
		for _, p := range [][2]*Store{{a, b}, {b, a}} {
			if _, _, err := p[0].ApplyShared(p[1].Encode(), Terms{}); err != nil {
				t.Fatalf("state of another: %v", err)
			}
			check(t, p[0])
		}
	}
}

// FuzzDiff asks for differences for any state vector.
func FuzzDiff(f *testing.F) {
	seeds(f, func(update, sv []byte) { f.Add(update, sv) })
	f.Fuzz(func(t *testing.T, update, sv []byte) {
		for _, s := range []*Store{busy(), keeping(busy())} {
			testDiff(t, s, update, sv)
		}
	})
}

func testDiff(t *testing.T, s *Store, update, sv []byte) {
	s.Apply(update)
	diff, err := s.Diff(sv)
	check(t, s)
	if err != nil {
		return
	}
	o := New(Limits{})
	if _, err := o.Apply(diff); err != nil {
		t.Fatalf("own difference: %v", err)
	}
	check(t, o)
	if o.DeleteDigest() != s.DeleteDigest() {
		t.Fatal("difference lacks deletions")
	}
	// With what a client of that state vector has, it makes the document whole.
	c := checker{b: sv}
	for _, x := range c.stateVector() {
		if r := s.byClient[x.client]; r != nil && r.head < min(x.clock, r.tail) {
			part := s.appendBlocks(nil, []span{{x.client, r.head, min(x.clock, r.tail)}})
			if _, err := o.Apply(append(part, 0)); err != nil {
				t.Fatalf("own part: %v", err)
			}
		}
	}
	if !bytes.Equal(o.StateVector(), s.StateVector()) {
		t.Fatal("difference leaves a hole")
	}
}
