package ystore

import (
	"bytes"
	"testing"
)

// loose is the update with a byte more than it needs, which has all of it taken apart. The
// update has less than 128 blocks.
func loose(update []byte) []byte {
	return append([]byte{update[0] | 0x80, 0}, update[1:]...)
}

// alike fails unless an update makes the same of both documents, the first of which is given its
// memory, and the second of which gets it loose.
func alike(t *testing.T, update []byte, s, apart *Store) {
	t.Helper()
	given := bytes.Clone(update)
	_, _, err := s.ApplyShared(given, Terms{Limited: true, Given: true})
	defer func() {
		if !bytes.Equal(given, update) {
			t.Error("what was given was changed")
		}
	}()
	_, other := apart.Apply(loose(update))
	if (err == nil) != (other == nil) {
		t.Fatalf("%v, and taken apart: %v", err, other)
	}
	check(t, s)
	check(t, apart)
	if !bytes.Equal(s.Encode(), apart.Encode()) || s.DeleteDigest() != apart.DeleteDigest() || !bytes.Equal(s.Integrable(), apart.Integrable()) {
		t.Fatalf("the update makes\n%x\nand taken apart\n%x", s.Encode(), apart.Encode())
	}
	is, would := s.Stats(), apart.Stats()
	// What is one struct may be kept in other pieces.
	is.Held, is.Bytes, is.Deleted = would.Held, would.Bytes, would.Deleted
	if is != would {
		t.Fatalf("the document holds %+v, and taken apart %+v", is, would)
	}
}

// isCopied reports whether a part of the update is copied into the document.
func isCopied(s *Store, update []byte) bool {
	x := s.change()
	defer x.end()
	sum := x.summary()
	return x.check(update, true, sum) == nil && sum.tight && len(x.copies) > 0
}

func TestStructsThatAreCopiedMakeTheSameDocument(t *testing.T) {
	copied := 0
	for _, made := range []func() *Store{func() *Store { return New(Limits{}) }, func() *Store { return keeping(New(Limits{})) }} {
		for _, c := range cases(t) {
			s, apart := made(), made()
			for _, u := range c.Log {
				if isCopied(made(), u) {
					copied++
					alike(t, u, made(), made())
				}
				s.Apply(u)
				apart.Apply(loose(u))
			}
			alike(t, c.State, s, apart)
		}
		for _, name := range traces {
			updates := trace(t, name)
			s, half := made(), made()
			for i, u := range updates {
				if s.Apply(u); i < len(updates)/2 {
					half.Apply(u)
				}
			}
			state := s.Encode()
			rest, err := s.Diff(half.StateVector())
			if err != nil {
				t.Fatal(err)
			}
			if !isCopied(made(), state) || !isCopied(half, rest) {
				t.Errorf("%s: nothing of it is copied", name)
			}
			alike(t, state, made(), made())
			apart := made()
			apart.Apply(loose(half.Encode()))
			alike(t, rest, half, apart)
		}
	}
	if copied < 200 {
		t.Errorf("only %d updates of the random cases are copied", copied)
	}
}

// in is a struct of the given kind, with one value or of length one, in the type with that id.
func in(kind byte, client, clock uint64) []byte {
	b := appendUvarint(appendUvarint([]byte{kind, 0}, client), clock)
	switch kind {
	case kindAny:
		return append(b, 1, 127)
	case kindString:
		return append(b, 1, 'x')
	}
	return append(b, 1)
}

// times is some structs again and again.
func times(n int, structs ...[]byte) (all [][]byte) {
	for range n {
		all = append(all, structs...)
	}
	return all
}

func TestStructsThatAreCopiedBesideOthersMakeTheSameDocument(t *testing.T) {
	array := []byte{kindType, 1, 1, 'a', 0}
	value := func(clock uint64) []byte { // of the key k, behind another one
		return append(appendUvarint([]byte{kindAny | hasOrigin | hasSub, 1}, clock), 1, 127)
	}
	values := [][]byte{{kindAny | hasSub, 1, 1, 'm', 1, 'k', 1, 127}}
	for clock := range uint64(20) {
		values = append(values, value(clock))
	}
	binary := append(appendUvarint([]byte{kindBinary, 1, 1, 't'}, 2*maxLeafBytes), make([]byte, 2*maxLeafBytes)...)
	long := text(string(bytes.Repeat([]byte("long "), maxPiece)))
	for name, updates := range map[string][][]byte{
		"two blocks of a client": {update(nil, block(1, 0, times(20, text("ab"))...), block(1, 0, times(100, text("a"))...))},
		"a part is known":        {update(nil, block(1, 0, text("a"))), update(nil, block(1, 0, times(100, text("a"))...))},
		"values of a key":        {update(nil, block(1, 0, values...))},
		"large ones":             {update(nil, block(1, 0, times(16, text("a"), long, text("b"), binary)...))},
		"many of one leaf":       {update(nil, block(1, 0, times(500, text("a"), gc(1))...))},
		"a tombstone in a type that is gone, beside GC": {
			update(ranges(1, 0, 1), block(1, 0, array)),
			update(nil, block(1, 1, times(20, text("a"), in(kindDeleted, 1, 0), gc(2))...)),
		},
		"in a type that comes later": {
			update(nil, block(2, 0, times(20, in(kindString, 1, 0), text("a"))...)),
			update(nil, block(2, 40, times(20, in(kindAny, 1, 1), in(kindDeleted, 1, 0))...)),
			update(nil, block(3, 0, times(10, in(kindString, 2, 3), in(kindDeleted, 1, 0))...), block(1, 0, times(20, array)...)),
		},
		"in a type of a later block, which is deleted": {
			update(ranges(1, 0, 1), block(2, 0, times(20, in(kindString, 1, 0), in(kindDeleted, 1, 0))...), block(1, 0, times(20, array)...)),
		},
		"behind a gap": {
			update(nil, block(1, 3, times(20, text("a"))...)),
			update(nil, block(1, 23, times(20, text("a"))...)),
			update(nil, block(1, 0, times(20, text("a"))...)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, made := range []func() *Store{func() *Store { return New(Limits{}) }, func() *Store { return keeping(New(Limits{})) }} {
				s, apart := made(), made()
				for _, u := range updates {
					alike(t, u, s, apart)
				}
			}
		})
	}
}
