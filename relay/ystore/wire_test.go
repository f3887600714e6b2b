package ystore

import (
	"testing"
	"unicode/utf16"
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
