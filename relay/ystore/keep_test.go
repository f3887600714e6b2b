package ystore

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// applied is a store that keeps what is deleted, with updates.
func applied(t *testing.T, updates ...[]byte) *Store {
	t.Helper()
	s := keeping(New(Limits{}))
	for _, u := range updates {
		mustApply(t, s, u)
	}
	return s
}

// lost counts the ids whose content a store does not have.
func lost(s *Store) (ids uint64) {
	for _, r := range s.list {
		for l := r.first; l != nil; l = l.next {
			for i, e := range l.ents {
				if k := e.kind(); k == kindDeleted || k == kindGC {
					ids += l.endOf(i) - e.clock()
				}
			}
		}
	}
	return ids
}

func mustApply(t *testing.T, s *Store, u []byte) (fresh []byte) {
	t.Helper()
	brings, err := s.Brings(u)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err = s.Apply(u); err != nil {
		t.Fatal(err)
	}
	check(t, s)
	if brings != (fresh != nil) {
		t.Fatalf("Brings says %v, and %d bytes were new", brings, len(fresh))
	}
	return fresh
}

func TestKeptContentStaysInItsPieces(t *testing.T) {
	s := applied(t, update(nil, block(1, 0, text("hello world"))), update(ranges(1, 2, 6)))
	again := applied(t, s.Encode())
	for name, s := range map[string]*Store{"first": s, "loaded": again} {
		if got := s.Encode(); !bytes.Contains(got, []byte("llo wo")) || !bytes.HasSuffix(got, []byte{1, 1, 1, 2, 6}) {
			t.Errorf("%s: encoded as %q", name, got)
		}
		if n := s.Stats().Structs; n != 3 {
			t.Errorf("%s: %d structs", name, n)
		}
	}
	// What is deleted beside it becomes one struct with it.
	mustApply(t, s, update(ranges(1, 8, 3)))
	if st := s.Stats(); st.Structs != 2 || st.Deleted != 1 {
		t.Errorf("%+v", st)
	}
	plain := New(Limits{})
	mustApply(t, plain, s.Encode())
	if got := plain.Encode(); bytes.Contains(got, []byte("llo")) {
		t.Errorf("a store that does not keep has it: %q", got)
	}
}

// Of the same ids one client sends content, another a tombstone, a third GC. Whoever
// comes first, the store has the most that is known of them, and what it hands on makes
// another one the same.
func TestContentCountsMoreThanWhatWasCollectedInAnyOrder(t *testing.T) {
	array := []byte{kindType, 1, 1, 't', 0}
	noArray := []byte{kindDeleted, 1, 1, 't', 1}
	content := update(ranges(1, 0, 4), block(2, 0, after(1, 1, "live")), block(1, 0, array, []byte{kindString, 0, 1, 0, 3, 'a', 'b', 'c'}))
	tombstone := update(ranges(1, 0, 4), block(1, 0, noArray, []byte{kindDeleted, 0, 1, 0, 3}))
	gone := update(ranges(1, 0, 4), block(1, 0, noArray, gc(3)))
	want := applied(t, content).Encode()
	for _, order := range [][][]byte{{gone, content}, {gone, tombstone, content}, {tombstone, gone, content}, {content, gone, tombstone}, {tombstone, content, gone}} {
		s, replica := keeping(New(Limits{})), keeping(New(Limits{}))
		for _, u := range order {
			if fresh := mustApply(t, s, u); fresh != nil {
				mustApply(t, replica, fresh)
			}
		}
		for name, s := range map[string]*Store{"store": s, "replica": replica} {
			if got := s.Encode(); !bytes.Equal(got, want) {
				t.Errorf("%s:\n got %q\nwant %q", name, got, want)
			}
		}
	}
}

// What hangs on something that is missing would wait for it in newcomers, and everything
// of its client behind it: GC in its place does not.
func TestContentThatWouldWaitDoesNotTakeThePlaceOfGC(t *testing.T) {
	s := applied(t, update(ranges(1, 0, 3), block(1, 0, gc(3), text("behind"))))
	before := bytes.Clone(s.Encode())
	if fresh := mustApply(t, s, update(ranges(1, 0, 3), block(1, 0, after(7, 7, "abc")))); fresh != nil {
		t.Errorf("it brought %q", fresh)
	}
	if !bytes.Equal(s.Encode(), before) {
		t.Error("the document is another one")
	}
	// Two that hang on each other.
	s = applied(t, update(ranges(1, 0, 1, 2, 1), block(1, 0, gc(1)), block(2, 0, gc(1))))
	mustApply(t, s, update(ranges(1, 0, 1), block(1, 0, after(2, 0, "a"))))
	mustApply(t, s, update(ranges(2, 0, 1), block(2, 0, after(1, 0, "b"))))
	if s.anyWaits() {
		t.Error("something waits")
	}
}

// Of client 2 nothing is integrated yet: a gap is before it. What waits there is judged as
// well, since it will be integrated some day.
func TestContentBehindAGapThatWouldCloseACircleDoesNotTakeThePlaceOfGC(t *testing.T) {
	s := applied(t, update(nil, block(2, 12, gc(1), text("s"))), update(nil, block(1, 9, after(2, 14, "x"))))
	if fresh := mustApply(t, s, update(nil, block(2, 12, after(1, 9, "y")))); fresh != nil {
		t.Errorf("it brought %q", fresh)
	}
	if _, err := New(Limits{}).Apply(s.Encode()); err != nil {
		t.Errorf("nobody else takes the document: %v", err)
	}
}

func TestWhatBecomesContentCountsAgainstTheLimits(t *testing.T) {
	s := keeping(New(Limits{MaxBytes: 200}))
	mustApply(t, s, update(ranges(1, 0, 300), block(1, 0, gc(300))))
	if _, err := s.Apply(update(ranges(1, 0, 300), block(1, 0, text(string(bytes.Repeat([]byte("x"), 300)))))); err == nil {
		t.Error("300 bytes are taken into a document of 200")
	}
	check(t, s)
}

// The corpus, of which one half is heard by a store that does not keep, and the other by
// one that does: merged, the document keeps all that the second had.
func TestMergesOfWhatWasKeptAndWhatWasNot(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	restored := 0
	for i, c := range cases(t) {
		if i%7 != 0 || len(c.Log) < 4 {
			continue
		}
		all, part, bare := keeping(New(Limits{})), keeping(New(Limits{})), New(Limits{})
		for _, u := range c.Log {
			mustApply(t, all, u)
			mustApply(t, bare, u)
			if rnd.IntN(2) == 0 {
				mustApply(t, part, u)
			}
		}
		first := keeping(New(Limits{}))
		mustApply(t, first, bare.Encode())
		second := keeping(New(Limits{}))
		mustApply(t, second, all.Encode())
		if fresh := mustApply(t, first, all.Encode()); fresh != nil {
			restored++
			mustApply(t, part, fresh)
			mustApply(t, part, bare.Encode())
		}
		mustApply(t, part, all.Encode())
		mustApply(t, second, bare.Encode())
		for name, s := range map[string]*Store{"collected first": first, "kept first": second, "in parts": part} {
			same(t, name, all, s)
			if got, want := lost(s), lost(all); got != want {
				t.Fatalf("case %d, %s: %d ids without content, expected %d", i, name, got, want)
			}
		}
	}
	if restored == 0 {
		t.Error("nothing was restored")
	}
}

// Yjs throws on a struct that begins in what it has as GC and goes on behind it: of ids
// that were there clients are not sent more, other pods and the history are.
func TestClientsAreNotSentContentOfWhatTheyHave(t *testing.T) {
	s := applied(t, update(ranges(1, 0, 3), block(1, 0, gc(3))))
	fresh, deliver, err := s.ApplyShared(update(ranges(1, 0, 6), block(1, 0, text("abcdef"))), Terms{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s)
	if want := update(ranges(1, 0, 6), block(1, 3, after(1, 2, "def"))); !bytes.Equal(deliver, want) {
		t.Errorf("clients are sent\n%q, expected\n%q", deliver, want)
	}
	if want := update(ranges(1, 0, 6), block(1, 0, text("abcdef"))); !bytes.Equal(fresh, want) {
		t.Errorf("new is\n%q, expected\n%q", fresh, want)
	}
}
