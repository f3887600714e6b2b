package ystore

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestOffsetsCountUTF16Units(t *testing.T) {
	for _, s := range []string{"", "a", "abcdefgh", "abcdefghi", "é", "ééééééééé", "日本日本日本日本日本", "😀", "a😀b😀😀😀😀c",
		"0123456😀", "01234567😀", "012345😀é日a0123456789", "\x00\uffff\ufeff𝒳"} {
		units := utf16.Encode([]rune(s))
		if n := utf16Len([]byte(s)); n != uint64(len(units)) {
			t.Errorf("%q: length %d, want %d", s, n, len(units))
		}
		unit := uint64(0)
		for off, c := range s {
			if got, in := utf16Offset([]byte(s), unit); got != off || in {
				t.Errorf("%q: unit %d at %d (in a pair: %v), want %d", s, unit, got, in, off)
			}
			unit++
			if c > 0xffff {
				if got, in := utf16Offset([]byte(s), unit); got != off || !in {
					t.Errorf("%q: unit %d at %d (in a pair: %v), want in the pair at %d", s, unit, got, in, off)
				}
				unit++
			}
		}
		if got, in := utf16Offset([]byte(s), unit); got != len(s) || in {
			t.Errorf("%q: end at %d (in a pair: %v)", s, got, in)
		}
	}
}

func TestIntegersOfTheWire(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 16383, 16384, 1<<32 - 1, 1 << 45, 1 << 49, maxClock - 1, maxClock} {
		b := appendUvarint(nil, v)
		if len(b) != uvarintLen(v) {
			t.Errorf("%d: %d bytes, announced %d", v, len(b), uvarintLen(v))
		}
		longer := append(append([]byte{}, b...), 0, 0)
		longer[len(b)-1] |= 0x80
		longer[len(b)] |= 0x80 // not minimal, accepted
		for _, b := range [][]byte{b, append(b, 1, 2, 3, 4, 5, 6, 7, 8), longer} {
			c := checker{b: b}
			if got := c.uvarint(); got != v || c.err != nil {
				t.Errorf("%x: checked %d (%v), want %d", b, got, c.err, v)
			}
			if got, p := uvarint(b, 0); got != v || p != c.p {
				t.Errorf("%x: read %d up to %d, want %d up to %d", b, got, p, v, c.p)
			}
		}
	}
	for _, v := range []uint64{maxClock + 1, 1 << 60, 1<<64 - 1} {
		for _, b := range [][]byte{appendUvarint(nil, v), append(appendUvarint(nil, v), 0, 0, 0)} {
			c := checker{b: b}
			if c.uvarint(); c.err == nil {
				t.Errorf("%d accepted", v)
			}
		}
	}
}

func TestTextIsCheckedAndCountedInOneGo(t *testing.T) {
	pieces := []string{"a", "abcdefgh", "é", "日", "😀", "\uffff", "\ufffd", "\x80", "\xc0\x80", "\xc3", "\xed\xa0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf0\x9f"}
	valid := 0
	for range 20_000 {
		var b []byte
		kinds := 1 + rand.N(len(pieces)) // mostly the first ones, which are valid
		for range rand.N(12) {
			b = append(b, pieces[rand.N(kinds)]...)
		}
		n, ok := validUTF16Len(b)
		if ok != utf8.Valid(b) || ok && n != utf16Len(b) {
			t.Fatalf("%q: %d, %v; expected %d, %v", b, n, ok, utf16Len(b), utf8.Valid(b))
		}
		if ok {
			valid++
		}
	}
	if valid == 0 || valid == 20_000 {
		t.Fatalf("%d were valid", valid)
	}
}

// Structs of an update are taken as they are where that is how we would write them.
func TestWhatIsWrittenLongerThanNeedBeIsKeptShort(t *testing.T) {
	first := block(1, 0, []byte{kindString, 1, 1, 't', 4, 'a', 'b', 'c', 'd'})[3:]
	tight := update(nil, block(1, 0, first, []byte{kindDeleted | hasOrigin, 1, 1, 2}, []byte{kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 1, 126}))
	for name, structs := range map[string][][]byte{
		"length of a string": {{kindString, 1, 1, 't', 0x84, 0, 'a', 'b', 'c', 'd'}, {kindDeleted | hasOrigin, 1, 1, 2}, {kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 1, 126}},
		"name of the root":   {{kindString, 1, 0x81, 0x80, 0, 't', 4, 'a', 'b', 'c', 'd'}, {kindDeleted | hasOrigin, 1, 1, 2}, {kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 1, 126}},
		"length of the dead": {first, {kindDeleted | hasOrigin, 1, 1, 0x82, 0x80, 0x80, 0}, {kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 1, 126}},
		"client of an id":    {first, {kindDeleted | hasOrigin, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 2}, {kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 1, 126}},
		"clock of an id":     {first, {kindDeleted | hasOrigin, 1, 1, 2}, {kindAny | hasOrigin | hasRight, 1, 0x85, 0, 1, 0, 1, 126}},
		"number of values":   {first, {kindDeleted | hasOrigin, 1, 1, 2}, {kindAny | hasOrigin | hasRight, 1, 5, 1, 0, 0x81, 0, 126}},
	} {
		t.Run(name, func(t *testing.T) {
			s, want := New(Limits{}), New(Limits{})
			must(t, want, tight)
			must(t, s, update(nil, block(1, 0, structs...)))
			if !bytes.Equal(s.Encode(), want.Encode()) {
				t.Errorf("%x, expected %x", s.Encode(), want.Encode())
			}
		})
	}
	for name, c := range map[string]struct{ loose, tight [][]byte }{
		"flags of GC":            {[][]byte{{kindGC | hasOrigin | hasSub, 2}, text("a")}, [][]byte{{kindGC, 2}, text("a")}},
		"parent that is no root": {[][]byte{{kindType, 1, 1, 't', 0}, {kindString, 7, 1, 0, 1, 'a'}}, [][]byte{{kindType, 1, 1, 't', 0}, {kindString, 0, 1, 0, 1, 'a'}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, want := New(Limits{}), New(Limits{})
			must(t, want, update(nil, block(1, 0, c.tight...)))
			must(t, s, update(nil, block(1, 0, c.loose...)))
			if !bytes.Equal(s.Encode(), want.Encode()) {
				t.Errorf("%x, expected %x", s.Encode(), want.Encode())
			}
		})
	}
}
