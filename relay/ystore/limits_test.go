package ystore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The builders below write updates by hand.

func update(deletes []byte, blocks ...[]byte) []byte {
	u := []byte{byte(len(blocks))}
	for _, b := range blocks {
		u = append(u, b...)
	}
	if deletes == nil {
		deletes = []byte{0}
	}
	return append(u, deletes...)
}

func block(client, clock uint64, structs ...[]byte) []byte {
	b := appendUvarint(nil, uint64(len(structs)))
	b = appendUvarint(appendUvarint(b, client), clock)
	for _, s := range structs {
		b = append(b, s...)
	}
	return b
}

// text is a string in root t.
func text(s string) []byte {
	b := append([]byte{kindString, 1, 1, 't'}, appendUvarint(nil, uint64(len(s)))...)
	return append(b, s...)
}

// after is a string behind an id.
func after(client, clock uint64, s string) []byte {
	b := appendUvarint(appendUvarint([]byte{kindString | hasOrigin}, client), clock)
	return append(appendUvarint(b, uint64(len(s))), s...)
}

func gc(n uint64) []byte   { return appendUvarint([]byte{kindGC}, n) }
func skip(n uint64) []byte { return appendUvarint([]byte{kindSkip}, n) }

// ranges is a delete set of one client: clock, length, clock, length, …
func ranges(client uint64, v ...uint64) []byte {
	b := appendUvarint(appendUvarint([]byte{1}, client), uint64(len(v)/2))
	for _, x := range v {
		b = appendUvarint(b, x)
	}
	return b
}

func TestLimitsRefuseAnUpdateAsAWhole(t *testing.T) {
	deep := append(append([]byte{kindAny, 1, 1, 't', 1}, bytes.Repeat([]byte{117, 1}, 20)...), 127)
	deepJSON := append([]byte{kindEmbed, 1, 1, 't', 40}, strings.Repeat("[", 20)+strings.Repeat("]", 20)...)
	start := update(nil, block(1, 0, text("hello")))
	for name, c := range map[string]struct {
		limits Limits
		fits   []byte // accepted
		breaks []byte // and this is not
		want   error
	}{
		"bytes": {Limits{MaxBytes: 200}, update(nil, block(1, 5, after(1, 4, strings.Repeat("x", 100)))),
			update(nil, block(1, 105, after(1, 104, strings.Repeat("x", 100)))), ErrDocumentTooLarge},
		"bytes by delete ranges": {Limits{MaxBytes: 200}, update(ranges(1, 0, 1)),
			update(ranges(1, 0, 1, 2, 1, 4, 1, 6, 1, 8, 1, 10, 1, 12, 1, 14, 1, 16, 1, 18, 1)), ErrDocumentTooLarge},
		"clients": {Limits{MaxClients: 3}, update(ranges(9, 0, 1), block(9, 0, text("a")), block(8, 0, text("a"))),
			update(nil, block(7, 0, text("a"))), ErrTooManyClients},
		"clients by deletions": {Limits{MaxClients: 2}, update(ranges(9, 0, 1)), update(ranges(8, 0, 1)), ErrTooManyClients},
		"new delete ranges of one update": {Limits{MaxDeleteRanges: 3}, update(nil, block(3, 0, text("abcdefghij"))),
			update(ranges(3, 0, 1, 2, 1, 4, 1, 6, 1)), ErrTooManyDeleteRanges},
		"delete ranges ahead of content": {Limits{MaxDeleteRanges: 3}, update(ranges(1, 10, 1, 12, 1, 14, 1)),
			update(ranges(1, 20, 1)), ErrTooManyDeleteRanges},
		"pending structs": {Limits{MaxPendingStructs: 2}, update(nil, block(1, 9, after(1, 0, "a"), after(1, 0, "b"))),
			update(nil, block(1, 20, after(1, 0, "c"))), ErrTooManyPending},
		"nesting of values":            {Limits{MaxNesting: 10}, nil, update(nil, block(1, 5, deep)), ErrTooDeep},
		"nesting of JSON":              {Limits{MaxNesting: 10}, nil, update(nil, block(1, 5, deepJSON)), ErrTooDeep},
		"nesting without a limit set":  {Limits{}, update(nil, block(1, 5, deep)), update(nil, block(2, 0, nested(DefaultNesting+1))), ErrTooDeep},
		"bytes with nothing but known": {Limits{MaxBytes: 60}, start, update(nil, block(3, 0, text(strings.Repeat("y", 60)))), ErrDocumentTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(c.limits)
			must(t, s, start)
			if c.fits != nil {
				must(t, s, c.fits)
			}
			before, stats := s.Encode(), s.Stats()
			_, err := s.Apply(c.breaks)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if _, err := s.Brings(c.breaks); !errors.Is(err, c.want) {
				t.Fatalf("Brings: got %v, want %v", err, c.want)
			}
			if !bytes.Equal(s.Encode(), before) || s.Stats() != stats {
				t.Fatal("left something behind")
			}
			must(t, s, before) // what is known already is never too much
			if c.want == ErrTooDeep {
				return
			}
			if fresh, _, err := s.ApplyShared(c.breaks, Terms{}); err != nil || fresh == nil {
				t.Fatalf("from another store: %d bytes, %v", len(fresh), err)
			}
			must(t, s, s.Encode())
		})
	}
}

func nested(levels int) []byte {
	return append(append([]byte{kindAny, 1, 1, 't', 1}, bytes.Repeat([]byte{117, 1}, levels-1)...), 127)
}

func TestAPendingStructStopsCountingWhenItsGapIsFilled(t *testing.T) {
	s := New(Limits{MaxPendingStructs: 2})
	must(t, s, update(nil, block(1, 5, after(1, 0, "b"), after(1, 0, "c"))))
	if n := s.Stats().Pending; n != 2 {
		t.Fatalf("%d pending", n)
	}
	must(t, s, update(nil, block(1, 0, text("hello"))))
	if st := s.Stats(); st.Pending != 0 || st.Structs != 3 {
		t.Fatalf("%+v", st)
	}
	if sv := s.StateVector(); !bytes.Equal(sv, []byte{1, 1, 7}) {
		t.Fatalf("state vector %v", sv)
	}
	must(t, s, update(nil, block(1, 9, after(1, 0, "d"), after(1, 0, "e"))))
}

func TestADeletionAheadOfItsContentTakesItWhenItComes(t *testing.T) {
	s := New(Limits{})
	must(t, s, update(ranges(1, 1, 3, 8, 2)))
	digest := s.DeleteDigest()
	if fresh := must(t, s, update(ranges(1, 2, 1))); fresh != nil {
		t.Fatal("known deletion is new")
	}
	must(t, s, update(nil, block(1, 0, text("hello"))))
	if s.DeleteDigest() != digest {
		t.Fatal("digest depends on the content being known")
	}
	want := update(ranges(1, 1, 3, 8, 2), block(1, 0, text("h"), []byte{kindDeleted | hasOrigin, 1, 0, 3}, after(1, 3, "o")))
	if got := s.Encode(); !bytes.Equal(got, want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
	if st := s.Stats(); st.PendingDeletes != 1 || st.Deleted != 2 {
		t.Fatalf("%+v", st)
	}
}

func TestGapsAreSkipsButNeverInFront(t *testing.T) {
	s := New(Limits{})
	must(t, s, update(nil, block(1, 5, gc(2)), block(2, 0, text("x"))))
	must(t, s, update(nil, block(1, 10, gc(1))))
	want := update(ranges(1, 5, 2, 10, 1), block(2, 0, text("x")), block(1, 5, gc(2), skip(3), gc(1)))
	want[0] = 2
	if got := s.Encode(); !bytes.Equal(got, want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
	d, err := s.Diff([]byte{2, 2, 1, 1, 8})
	if err != nil {
		t.Fatal(err)
	}
	if want := update(ranges(1, 5, 2, 10, 1), block(1, 10, gc(1))); !bytes.Equal(d, want) {
		t.Fatalf("got  %x\nwant %x", d, want)
	}
	if sv := s.StateVector(); !bytes.Equal(sv, []byte{1, 2, 1}) {
		t.Fatalf("state vector %v", sv)
	}
}

func TestADifferenceNeverCutsASurrogatePair(t *testing.T) {
	s := New(Limits{})
	must(t, s, update(nil, block(1, 0, text("a😀b"))))
	for clock, want := range [][]byte{
		text("a😀b"), after(1, 0, "😀b"), after(1, 0, "😀b"), after(1, 2, "b"),
	} {
		d, err := s.Diff([]byte{1, 1, byte(clock)})
		if err != nil {
			t.Fatal(err)
		}
		from := uint64(clock)
		if clock == 2 {
			from = 1
		}
		if want := update(nil, block(1, from, want)); !bytes.Equal(d, want) {
			t.Errorf("from %d: got %x, want %x", clock, d, want)
		}
	}
}

func TestTombstonesInADeletedTypeBecomeGC(t *testing.T) {
	typ := []byte{kindType, 1, 1, 'm', 1}                  // 2:0, a map in root m
	child := []byte{kindString, 0, 2, 0, 3, 'a', 'b', 'c'} // in it
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 1, 3, 0}} {
		updates := [][]byte{
			update(nil, block(2, 0, typ)),
			update(nil, block(3, 0, child)),
			update(ranges(3, 1, 1)),
			update(ranges(2, 0, 1)),
		}
		s := New(Limits{})
		for _, i := range order {
			must(t, s, updates[i])
		}
		want := []byte{2, 3, 3, 0}
		want = append(want, []byte{kindString, 0, 2, 0, 1, 'a'}...)
		want = append(want, gc(1)...)
		want = append(want, after(3, 1, "c")...)
		want = append(want, block(2, 0, []byte{kindDeleted, 1, 1, 'm', 1})...)
		want = append(want, 2, 3, 1, 1, 1, 2, 1, 0, 1)
		if got := s.Encode(); !bytes.Equal(got, want) {
			t.Errorf("order %v: got  %x\nwant %x", order, got, want)
		}
	}
}

func TestALongStringIsKeptInPiecesAndWrittenAsOne(t *testing.T) {
	long := strings.Repeat("0123456789ж", 3000)
	s := New(Limits{})
	u := update(nil, block(1, 0, text(long)))
	if fresh := must(t, s, u); !bytes.Equal(fresh, u) {
		t.Fatal("all of it was new")
	}
	if !bytes.Equal(s.Encode(), u) {
		t.Fatal("not written as one struct")
	}
	must(t, s, update(ranges(1, 10000, 1)))
	if st := s.Stats(); st.Structs != 3 {
		t.Fatalf("%d structs", st.Structs)
	}
	// Taken away one by one from the front, it gets shorter and shorter.
	for i := uint64(0); i < 9000; i++ {
		if _, err := s.Apply(update(ranges(1, i, 1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(s); err != nil {
		t.Fatal(err)
	}
	if n, got := len(long)*24/33, s.Stats().Bytes; got > n+600 {
		t.Fatalf("%d bytes left, want about %d", got, n)
	}
}
