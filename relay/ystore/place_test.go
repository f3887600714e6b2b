package ystore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A type in a map, 2:0, with a value under a key of it, 2:1.
var keyedType = update(nil, block(2, 0, []byte{kindType, 1, 1, 'm', 1}, []byte{kindAny | hasSub, 0, 2, 0, 1, 'k', 1, 125, 7}))

// values are numbers, behind an id.
func values(client, clock uint64, n ...byte) []byte {
	b := appendUvarint(appendUvarint([]byte{kindAny | hasOrigin}, client), clock)
	b = append(b, byte(len(n)))
	for _, x := range n {
		b = append(b, 125, x)
	}
	return b
}

func tombstones(client, clock uint64, n byte) []byte {
	return append(appendUvarint(appendUvarint([]byte{kindDeleted | hasOrigin}, client), clock), n)
}

// Several values of a key are one to clients. Cut in two, the first part is neither the
// value any more nor deleted, and they throw when they collect the map.
func TestOfSeveralValuesOfAKeyTheLastOneStays(t *testing.T) {
	last := update(ranges(3, 0, 2), block(3, 0, tombstones(2, 1, 2), values(3, 1, 3)))
	named := []byte{kindAny | hasSub, 1, 1, 'm', 1, 'k', 3, 125, 1, 125, 2, 125, 3}
	for name, c := range map[string]struct {
		known         [][]byte
		update, fresh []byte // fresh is update where nil
	}{
		"the key is a neighbour's":    {known: [][]byte{keyedType}, update: update(nil, block(3, 0, values(2, 1, 1, 2, 3))), fresh: last},
		"in the same update, earlier": {update: append([]byte{2}, append(block(3, 0, values(2, 1, 1, 2, 3)), keyedType[1:]...)...)},
		"they name it themselves": {update: update(nil, block(3, 0, named)),
			fresh: update(ranges(3, 0, 2), block(3, 0, []byte{kindDeleted | hasSub, 1, 1, 'm', 1, 'k', 2}, append([]byte{kindAny | hasOrigin | hasSub}, values(3, 1, 3)[1:]...)))},
		"some are deleted":       {known: [][]byte{keyedType}, update: update(ranges(3, 2, 1), block(3, 0, values(2, 1, 1, 2, 3))), fresh: update(ranges(3, 0, 3), block(3, 0, tombstones(2, 1, 3)))},
		"all are deleted":        {known: [][]byte{keyedType}, update: update(ranges(3, 0, 3), block(3, 0, values(2, 1, 1, 2, 3)))},
		"one":                    {known: [][]byte{keyedType}, update: update(ranges(2, 1, 1), block(3, 0, values(2, 1, 1)))},
		"one that follows":       {known: [][]byte{keyedType, update(nil, block(3, 0, values(2, 1, 1)))}, update: update(ranges(3, 0, 1), block(3, 1, values(3, 0, 2)))},
		"there is no key":        {known: [][]byte{update(nil, block(2, 0, text("ab")))}, update: update(nil, block(3, 0, values(2, 1, 1, 2, 3)))},
		"by the right neighbour": {known: [][]byte{keyedType}, update: update(nil, block(3, 0, append([]byte{kindAny | hasRight}, values(2, 1, 1, 2)[1:]...))), fresh: update(ranges(3, 0, 1), block(3, 0, []byte{kindDeleted | hasRight, 2, 1, 1}, append([]byte{kindAny | hasOrigin | hasRight, 3, 0, 2, 1}, values(3, 0, 2)[3:]...)))},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Limits{})
			for _, u := range c.known {
				must(t, s, u)
			}
			want := c.fresh
			if want == nil {
				want = c.update
			}
			got := must(t, s, c.update)
			if name == "in the same update, earlier" {
				o := New(Limits{})
				must(t, o, keyedType)
				must(t, o, last)
				same(t, "together", s, o)
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("new is  %x\n want %x", got, want)
			}
			roundTrip(t, s)
		})
	}
}

func TestWhatWaitsIsJudgedWhenItsNeighbourComes(t *testing.T) {
	s, client := New(Limits{}), New(Limits{})
	give := func(u []byte) {
		t.Helper()
		_, deliver, err := s.ApplyShared(u, Terms{Limited: true})
		if err != nil {
			t.Fatal(err)
		}
		check(t, s)
		must(t, client, deliver)
	}
	give(update(nil, block(3, 0, values(2, 1, 1, 2, 3))))
	give(update(ranges(3, 2, 1))) // cuts it, and leaves values that are not deleted
	give(update(nil, block(4, 0, values(3, 0, 4))))
	give(keyedType)
	same(t, "a client", s, client)
	if r := s.byClient[3]; !r.lacks(0, 3) {
		t.Error("values before a deleted one are not deleted")
	}
	if r := s.byClient[4]; r.lacks(0, 1) {
		t.Error("the last value is deleted")
	}
}

// Beside GC there may have been a key, which only clients know that have not heard of it.
func TestWhatComesBesideGCIsKeptOneByOne(t *testing.T) {
	s := New(Limits{})
	must(t, s, keyedType)
	must(t, s, update(ranges(2, 0, 2)))
	s.Encode()
	if s.entryAt(id{2, 1}).kind() != kindGC {
		t.Fatal("the value was not collected")
	}
	must(t, s, update(nil, block(3, 0, values(2, 1, 1, 2, 3))))
	must(t, s, update(nil, block(3, 3, values(3, 2, 4))))
	if n := s.Stats().Structs; n != 2+4 {
		t.Errorf("%d structs, want 6", n)
	}
	must(t, s, update(nil, block(4, 0, after(2, 1, strings.Repeat("x", maxApart+1)))))
	if r := s.byClient[4]; !r.lacks(0, maxApart+1) {
		t.Error("more than maxApart are kept")
	}
	roundTrip(t, s)
}

// typeIn is a type in another, or in a root.
func typeIn(parent *id) []byte {
	if parent == nil {
		return []byte{kindType, 1, 1, 't', 0}
	}
	return append(appendUvarint(appendUvarint([]byte{kindType, 0}, parent.client), parent.clock), 0)
}

// nestedTypes are n of a client from clock on, in each other and in parent.
func nestedTypes(client, clock uint64, parent *id, n int) (b [][]byte) {
	for range n {
		b = append(b, typeIn(parent))
		parent = &id{client, clock}
		clock++
	}
	return b
}

func TestTypesThatLieTooDeepAreRefused(t *testing.T) {
	refused := func(s *Store, u []byte) {
		t.Helper()
		_, err := s.Apply(u)
		var ue *UpdateError
		if !errors.As(err, &ue) || ue.Cause != Harmful || !strings.Contains(ue.What, "more than 200 levels") {
			t.Errorf("got %v", err)
		}
		check(t, s)
	}
	t.Run("at once", func(t *testing.T) {
		s := New(Limits{})
		refused(s, update(nil, block(1, 0, nestedTypes(1, 0, nil, maxDepth+1)...)))
		must(t, s, update(nil, block(1, 0, nestedTypes(1, 0, nil, maxDepth)...)))
	})
	t.Run("one by one", func(t *testing.T) {
		s := New(Limits{})
		for i := range uint64(maxDepth) {
			must(t, s, update(nil, block(1, i, nestedTypes(1, i, deeper(1, i), 1)...)))
		}
		refused(s, update(nil, block(1, maxDepth, typeIn(&id{1, maxDepth - 1}))))
		refused(s, update(nil, block(2, 0, typeIn(&id{1, maxDepth - 1}))))
		must(t, s, update(nil, block(1, maxDepth, typeIn(&id{1, maxDepth - 2})))) // as deep as the last one
		beside := append([]byte{kindType | hasOrigin, 1}, appendUvarint(nil, maxDepth)...)
		must(t, s, update(nil, block(2, 0, append(beside, 0))))
		refused(s, update(nil, block(3, 0, typeIn(&id{2, 0}))))
	})
	t.Run("many beside each other", func(t *testing.T) {
		s := New(Limits{})
		var b [][]byte
		for range 3 * maxDepth {
			b = append(b, typeIn(nil))
		}
		must(t, s, update(nil, block(1, 0, b...)))
	})
	t.Run("from the innermost on", func(t *testing.T) {
		s := New(Limits{})
		const top = 1000 - maxDepth + 1 // what is missing counts as well
		for i := uint64(1000); i > top; i-- {
			must(t, s, update(nil, block(i, 0, typeIn(&id{i - 1, 0}))))
		}
		refused(s, update(nil, block(top, 0, typeIn(&id{top - 1, 0}))))
		// Beside something that waits there, too.
		must(t, s, update(nil, block(5, 0, typeIn(&id{4, 0}))))
		refused(s, update(nil, block(top, 0, append([]byte{kindType | hasOrigin, 5, 0}, 0))))
	})
}

func deeper(client, clock uint64) *id {
	if clock == 0 {
		return nil
	}
	return &id{client, clock - 1}
}

// The author of what they wait for may know nothing of them.
func TestTypesThatComeToLieTooDeepAreDeleted(t *testing.T) {
	s := New(Limits{})
	must(t, s, update(nil, block(1, 0, nestedTypes(1, 0, nil, maxDepth-1)...)))
	must(t, s, update(nil, block(3, 0, nestedTypes(3, 0, &id{2, 0}, 5)...)))
	_, deliver, err := s.ApplyShared(update(nil, block(2, 0, typeIn(&id{1, maxDepth - 2}))), Terms{Limited: true})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s)
	if !s.byClient[3].lacks(0, 5) || s.byClient[2].lacks(0, 1) {
		t.Error("not what lies too deep is deleted")
	}
	client := New(Limits{})
	must(t, client, update(nil, block(1, 0, nestedTypes(1, 0, nil, maxDepth-1)...)))
	must(t, client, deliver)
	same(t, "what clients hear", s, client)
}

// Where the structs of an update lie is not looked for one by one if all of them must lie in
// the lists of roots. Which they need not when one lies elsewhere, or hangs on what is missing:
// must looks for that of each.
func TestWhereStructsLieIsKnownWhateverIsTakenForGranted(t *testing.T) {
	follows := block(3, 0, after(2, 0, "c"), after(1, 1, "d"))
	named := []byte{kindAny | hasSub, 1, 1, 'm', 1, 'k', 1, 125, 1}
	for name, c := range map[string]struct {
		known     []byte
		update    []byte
		waits     bool
		inherited lineage // of what follows
	}{
		"all in roots":           {nil, update(nil, follows, block(2, 0, after(1, 0, "b")), block(1, 0, text("aa"))), false, inRoot},
		"some are there":         {update(nil, block(1, 0, text("aa"))), update(nil, follows, block(2, 0, after(1, 0, "b"))), false, inRoot},
		"one is missing":         {nil, update(nil, follows, block(2, 0, after(1, 0, "b"))), true, 0},
		"the last is missing":    {nil, update(nil, follows, block(2, 0, after(1, 0, "b")), block(1, 0, text("a"))), true, inRoot},
		"behind a gap":           {nil, update(nil, follows, block(2, 0, after(1, 0, "b")), block(1, 1, text("a"))), true, 0},
		"in a type":              {nil, update(nil, follows, block(2, 0, []byte{kindString, 0, 1, 0, 1, 'b'}), block(1, 0, []byte{kindType, 1, 1, 't', 0}, text("a"))), false, firstType},
		"under a key":            {nil, update(nil, follows, block(2, 0, named), block(1, 0, text("aa"))), false, inRoot},
		"beside GC":              {nil, update(nil, follows, block(2, 0, []byte{kindGC, 1}), block(1, 0, text("aa"))), false, collected},
		"in a type that was":     {update(nil, block(2, 0, []byte{kindType, 1, 1, 't', 0}, []byte{kindString, 0, 2, 0, 2, 'x', 'y'})), update(nil, block(4, 0, after(3, 0, "d")), block(3, 0, after(2, 2, "c"))), false, firstType},
		"two blocks of a client": {nil, update(nil, follows, block(2, 0, after(1, 0, "b")), block(1, 0, text("a")), block(1, 1, after(1, 0, "a"))), false, inRoot},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Limits{})
			if c.known != nil {
				must(t, s, c.known)
			}
			must(t, s, c.update)
			if s.anyWaits() != c.waits {
				t.Errorf("something waits: %v", s.anyWaits())
			}
			if c.inherited == 0 {
				return
			}
			if got := s.entryAt(id{3, 0}).lineage; got != c.inherited {
				t.Errorf("lies in %d, expected %d", got, c.inherited)
			}
		})
	}
}
