package ystore

import (
	"bytes"
	"errors"
	"testing"
)

// wrote is an update of one struct: a string of one character per id.
func wrote(client, clock uint64, origin *id, s string) []byte {
	u := appendUvarint(appendUvarint([]byte{1, 1}, client), clock)
	if origin == nil {
		u = append(u, kindString, 1, 1, 't')
	} else {
		u = appendUvarint(appendUvarint(append(u, kindString|hasOrigin), origin.client), origin.clock)
	}
	u = appendUvarint(u, uint64(len(s)))
	return append(append(u, s...), 0)
}

func TestWhatAYjs14ClientAcceptsReachesEveryone(t *testing.T) {
	s, live := New(Limits{}), New(Limits{})
	for _, u := range updatesOf(t, "y14-accepted-behind-open-suggestion") {
		_, deliver, err := s.ApplyShared(u, Terms{Limited: true})
		if err != nil {
			t.Fatal(err)
		}
		must(t, live, deliver)
	}
	late := New(Limits{})
	d, err := s.Diff([]byte{0})
	if err != nil {
		t.Fatal(err)
	}
	must(t, late, d)
	for what, o := range map[string]*Store{"live": live, "late": late} {
		if o.Stats().Pending != 1 || !bytes.Equal(o.Encode(), s.Encode()) {
			t.Errorf("a %s client was sent %x of %x", what, o.Encode(), s.Encode())
		}
	}
}

func TestWhatBecomesIntegrableIsSentOnceMore(t *testing.T) {
	s := New(Limits{})
	apply := func(u []byte) []byte {
		t.Helper()
		_, deliver, err := s.ApplyShared(u, Terms{Limited: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(s); err != nil {
			t.Fatal(err)
		}
		return deliver
	}
	apply(wrote(1, 0, nil, "x"))
	apply(wrote(1, 3, &id{1, 2}, "z")) // behind the gap of 1 and 2
	b := wrote(2, 0, &id{1, 1}, "b")   // hangs on the gap's first id
	apply(b)
	got := New(Limits{})
	must(t, got, apply(wrote(1, 1, &id{1, 0}, "p")))
	if brings, _ := got.Brings(b); brings {
		t.Error("b can be integrated now, and was not sent again")
	}
	must(t, got, apply(wrote(1, 2, &id{2, 0}, "q"))) // hangs on b
	must(t, got, wrote(1, 0, nil, "x"))
	if !bytes.Equal(got.Encode(), s.Encode()) {
		t.Error("what lay behind the gap was not sent again with its filling")
	}
	if !bytes.Equal(s.Integrable(), s.StateVector()) {
		t.Error("all is there, and something is taken to wait")
	}
}

func TestAnUpdateThatOpensAGapCanBeRefused(t *testing.T) {
	s := New(Limits{})
	must(t, s, wrote(1, 0, nil, "ab"))
	gapless := Terms{Gapless: true}
	if _, _, err := s.ApplyShared(wrote(1, 3, &id{1, 2}, "x"), gapless); !errors.Is(err, ErrGap) {
		t.Fatalf("got %v", err)
	}
	must(t, s, wrote(1, 3, &id{1, 2}, "x"))
	for clock := uint64(4); clock > 1; clock -= 2 { // behind it and into it
		if _, _, err := s.ApplyShared(wrote(1, clock, &id{1, clock - 1}, "y"), gapless); err != nil {
			t.Errorf("at %d: %v", clock, err)
		}
	}
}
