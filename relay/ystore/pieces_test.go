package ystore

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"
)

// inPieces sends a client all that it lacks, and checks that each piece hangs only on
// those before it, as far as what it hangs on is there at all.
func inPieces(t *testing.T, s *Store, client *Store, p Progress, most int) {
	t.Helper()
	complete := !client.anyWaits() && !s.anyWaits()
	for {
		piece, ok := s.next(p, 2*most, most)
		if !ok {
			break
		}
		must(t, client, piece.Update)
		for _, r := range client.list {
			if r.waits && complete {
				t.Fatalf("client id %d waits in a piece", r.client)
			}
		}
		if limit := 2*most + 64*len(client.list) + maxPiece; len(piece.Update) > limit && largest(client) < most {
			t.Fatalf("a piece of %d bytes, want about %d", len(piece.Update), most)
		}
		next := p.Past(piece)
		if s.Lacks(next, 1<<40) >= s.Lacks(p, 1<<40) {
			t.Fatal("a piece brings nothing")
		}
		p = next
	}
	must(t, client, s.Rest(p, 0))
	same(t, "in pieces", s, client)
}

// largest is the size of the largest struct.
func largest(s *Store) (n int) {
	for _, r := range s.list {
		for l := r.first; l != nil; l = l.next {
			for i := range l.ents {
				n = max(n, l.offset(i+1)-l.offset(i))
			}
		}
	}
	return n
}

func TestALargeDifferenceComesInPiecesThatAreCompleteInThemselves(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(fmt.Sprint(c.ID), func(t *testing.T) {
			s := New(Limits{})
			half := New(Limits{})
			for i, u := range c.Log {
				must(t, s, u)
				if i < len(c.Log)/2 {
					must(t, half, u)
				}
			}
			for _, most := range []int{1, 40, 300} {
				inPieces(t, s, New(Limits{}), Progress{}, most)
				client := New(Limits{})
				must(t, client, half.Encode())
				p, err := ReadProgress(client.StateVector())
				if err != nil {
					t.Fatal(err)
				}
				inPieces(t, s, client, p, most)
			}
		})
	}
}

func TestPiecesAreResumedWhileTheDocumentChanges(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for _, c := range cases(t)[:20] {
		s, client := New(Limits{}), New(Limits{})
		var p Progress
		for _, u := range c.Log {
			must(t, s, u)
			if piece, ok := s.next(p, 100, 50); ok && rnd.Intn(2) == 0 {
				must(t, client, piece.Update)
				p = p.Past(piece)
			}
		}
		must(t, client, s.Rest(p, 0))
		same(t, "resumed", s, client)
	}
}

func TestALongStructIsDividedAndASmallDocumentIsNot(t *testing.T) {
	s := New(Limits{})
	must(t, s, wrote(1, 0, nil, string(bytes.Repeat([]byte("x"), 1<<20))))
	n := 0
	var p Progress
	for piece, ok := s.Next(p); ok; piece, ok = s.Next(p) {
		if n++; len(piece.Update) > MaxMessage {
			t.Errorf("a piece of %d bytes", len(piece.Update))
		}
		p = p.Past(piece)
	}
	if rest := s.Rest(p, 0); n != 3 || len(rest) > MaxMessage {
		t.Errorf("%d pieces and a rest of %d bytes", n, len(rest))
	}
	small := New(Limits{})
	must(t, small, wrote(1, 0, nil, string(bytes.Repeat([]byte("x"), MaxMessage-4<<10))))
	if _, ok := small.Next(Progress{}); ok {
		t.Error("a small document comes in pieces")
	}
}

func TestProgressIsComparedByWhatEachHas(t *testing.T) {
	read := func(vector ...byte) Progress {
		p, err := ReadProgress(vector)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, c := range map[string]struct {
		mine, other Progress
		lacks, same bool
	}{
		"nothing":               {read(0), read(0), false, true},
		"the same":              {read(2, 7, 3, 5, 1), read(2, 7, 3, 5, 1), false, true},
		"the same, other order": {read(2, 5, 1, 7, 3), read(2, 7, 3, 5, 1), false, true},
		"a clock behind":        {read(2, 7, 3, 5, 1), read(2, 7, 4, 5, 1), true, false},
		"a clock ahead":         {read(2, 7, 3, 5, 1), read(2, 7, 2, 5, 1), false, false},
		"a client more":         {read(2, 7, 3, 5, 1), read(1, 5, 1), false, false},
		"a client less":         {read(1, 7, 3), read(2, 7, 3, 5, 1), true, false},
		"a higher client less":  {read(1, 5, 1), read(2, 7, 3, 5, 1), true, false},
		"others altogether":     {read(1, 6, 1), read(1, 5, 1), true, false},
	} {
		if lacks, same := c.mine.Compare(c.other); lacks != c.lacks || same != c.same {
			t.Errorf("%s: lacks %v, same %v", name, lacks, same)
		}
	}
}
