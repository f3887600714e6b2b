package ystore

import (
	"bytes"
	"strings"
	"testing"
)

// give applies an update whose memory the document may keep.
func give(t *testing.T, s *Store, update []byte) {
	t.Helper()
	if _, _, err := s.ApplyShared(update, Terms{Given: true}); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}

func TestADocumentLiesInTheBodyThatItIsGiven(t *testing.T) {
	used := 0
	for _, name := range traces {
		updates := trace(t, name)
		for _, first := range []int{len(updates) / 2, len(updates) * 9 / 10} {
			body := applyAll(t, updates[:first]).Encode()
			before := bytes.Clone(body)
			s, plain := New(Limits{}), New(Limits{})
			give(t, s, body)
			must(t, plain, before)
			used += s.totals.given.used
			same(t, "given", s, plain)
			for i, u := range updates[first:] {
				s.Apply(u)
				plain.Apply(u)
				if i%100 == 0 {
					check(t, s)
				}
			}
			check(t, s)
			same(t, "edited", s, plain)
			if !bytes.Equal(body, before) {
				t.Errorf("%s: the body was changed", name)
			}
		}
	}
	if used == 0 {
		t.Error("nothing lies in any body")
	}
}

// scattered is a body of so many short structs.
func scattered(n int) []byte { return update(nil, block(1, 0, times(n, text("scattered"))...)) }

func TestABodyOfWhichLittleIsLeftIsLetGo(t *testing.T) {
	const n = 3000
	s := New(Limits{})
	give(t, s, scattered(n))
	held, size := s.Stats().Held, s.totals.given.size
	if size == 0 {
		t.Fatal("nothing lies in the body")
	}
	deleted := uint64(0)
	for ; deleted < n && s.totals.given.size > 0; deleted++ { // from the front
		s.Apply(update(ranges(1, deleted*9, 9)))
		if deleted%100 == 0 {
			check(t, s)
		}
	}
	check(t, s)
	if deleted < n/3 || deleted > n*2/3 {
		t.Errorf("%d structs of %d were deleted until the body was let go", deleted, n)
	}
	if now := s.Stats().Held; now > held {
		t.Errorf("the document takes %d bytes, %d before", now, held)
	}
	give(t, s, update(nil, block(2, 0, times(n, text("scattered"))...)))
	if s.totals.given.size == 0 {
		t.Error("the next body is not taken")
	}
}

func TestASecondBodyIsCopied(t *testing.T) {
	s := New(Limits{})
	give(t, s, scattered(1000))
	first := s.totals.given
	give(t, s, update(nil, block(2, 0, times(1000, text("scattered"))...)))
	if s.totals.given != first || first.size == 0 {
		t.Errorf("given %+v, then %+v", first, s.totals.given)
	}
	large := New(Limits{})
	give(t, large, update(nil, block(1, 0, times(maxGiven/1000, text(strings.Repeat("x", 1000)))...)))
	if (large.totals.given != given{}) {
		t.Errorf("given %+v", large.totals.given)
	}
}

func TestTheBodyThatADocumentLiesInIsCounted(t *testing.T) {
	body := scattered(3000)
	for _, deleted := range []int{0, 900, 2700} {
		isCounted(t, func() (all []*Store) {
			for range 20 {
				s := New(Limits{})
				give(t, s, bytes.Clone(body))
				for i := range uint64(deleted) {
					s.Apply(update(ranges(1, i*9, 9)))
				}
				all = append(all, s)
			}
			return all
		})
	}
}

func TestLeavesOfABodyAreMerged(t *testing.T) {
	binary := append(appendUvarint([]byte{kindBinary, 1, 1, 't'}, maxLeafBytes), make([]byte, maxLeafBytes)...)
	body := update(nil, block(1, 0, times(16, append(times(10, text("a")), binary, binary)...)...))
	before := bytes.Clone(body)
	s := New(Limits{})
	give(t, s, body)
	for _, gone := range []uint64{3*12 + 10, 6*12 + 11} { // behind a small leaf, and before one
		must(t, s, update(ranges(1, gone, 1)))
	}
	if s.totals.given.used == 0 || !bytes.Equal(body, before) {
		t.Errorf("given %+v, and the body is as before: %v", s.totals.given, bytes.Equal(body, before))
	}
}
