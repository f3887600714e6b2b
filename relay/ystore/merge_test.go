package ystore

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// later is the update of one character that a client appends to what it typed before.
func later(client, clock uint64) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, client)
	u = binary.AppendUvarint(u, clock)
	u = binary.AppendUvarint(append(u, 0x84), client)
	return append(binary.AppendUvarint(u, clock-1), 1, 'x', 0)
}

// What a room merges for its history begins in the middle of what each author typed, so
// none of it can be placed.
func TestMergingEditsOfManyAuthorsDoesNotLookAtAllOfThemForEach(t *testing.T) {
	const authors, edits = 20, 50
	s := New(Limits{})
	for i := range uint64(authors * edits) {
		if _, err := s.Apply(later(i%authors+1, 1000+i/authors)); err != nil {
			t.Fatal(err)
		}
	}
	if placed := (s.Work() - authors*runWork) / placeWork; placed > authors*edits {
		t.Errorf("%d edits were merged with %d looks at where they lie", authors*edits, placed)
	}
	if n := len(s.types.missing); n > 4*authors+2*minUnite {
		t.Errorf("what waits are %d spans", n)
	}
	// They are placed as soon as one of them can be.
	for author := range uint64(authors) {
		u := binary.AppendUvarint([]byte{1, 1}, author+1)
		u = append(u, 0, 4, 1, 1, 't')
		u = binary.AppendUvarint(u, 1000)
		for range 1000 {
			u = append(u, 'y')
		}
		if _, err := s.Apply(append(u, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.types.missing) > 0 || s.Stats().Pending > 0 {
		t.Errorf("%d spans are not placed, %d structs wait", len(s.types.missing), s.Stats().Pending)
	}
}

// Nor does what can be placed at once, in between, have all that waits looked at.
func TestMergingEditsOfWhichSomeHaveAPlaceLooksAtEachOnce(t *testing.T) {
	const authors, edits = 20, 100
	var updates [][]byte
	for i := range uint64(authors * edits) {
		updates = append(updates, later(i%authors+1, 1000+i/authors))
		u := binary.AppendUvarint([]byte{1, 1}, 100)
		updates = append(updates, append(binary.AppendUvarint(u, i), kindString, 1, 1, 't', 1, 'z', 0)) // in a root
	}
	s := New(Limits{})
	if err := s.gather(updates); err != nil {
		t.Fatal(err)
	}
	if placed := (s.Work() - (authors+1)*runWork) / placeWork; placed > 4*len(updates) {
		t.Errorf("%d edits were merged with %d looks at where they lie", len(updates), placed)
	}
	one, err := Merge(updates)
	if err != nil {
		t.Fatal(err)
	}
	whole := New(Limits{})
	for _, u := range updates {
		must(t, whole, u)
	}
	if !bytes.Equal(one, whole.Encode()) {
		t.Error("the merged update is not what the edits are one by one")
	}
}
