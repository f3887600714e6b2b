package ystore

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxClock is the largest integer that the wire can carry: what JavaScript
// numbers hold exactly. Client ids, clocks and ends of ranges stay below it.
const maxClock = 1<<53 - 1

// Content kinds are the numbers that the wire uses for them (the low five bits
// of a struct's info byte); see yjs/src/structs/Item.js, contentRefs.
const (
	kindGC      = 0
	kindDeleted = 1
	kindJSON    = 2
	kindBinary  = 3
	kindString  = 4
	kindEmbed   = 5
	kindFormat  = 6
	kindType    = 7
	kindAny     = 8
	kindDoc     = 9
	kindSkip    = 10

	// kindGone marks ids whose content is unknown but which are known to be
	// deleted. It never reaches the wire: it is a Skip there, and a range of the
	// delete set.
	kindGone = 11
)

// The high bits of an info byte.
const (
	hasOrigin = 0x80
	hasRight  = 0x40
	hasSub    = 0x20
	kindBits  = 0x1f
)

// known reports whether structs of this kind are content that we hold, as
// opposed to a gap.
func known(kind byte) bool { return kind != kindSkip && kind != kindGone }

// deleted reports whether ids of this kind are in the delete set.
func deleted(kind byte) bool {
	return kind == kindDeleted || kind == kindGC || kind == kindGone
}

// divisible reports whether a struct of this kind can be longer than one id.
func divisible(kind byte) bool {
	switch kind {
	case kindBinary, kindEmbed, kindFormat, kindType, kindDoc:
		return false
	}
	return true
}

// uvarint reads an integer that is known to be well-formed and returns the
// position behind it.
func uvarint(b []byte, p int) (uint64, int) {
	c := b[p]
	p++
	if c < 0x80 {
		return uint64(c), p
	}
	v := uint64(c & 0x7f)
	for shift := 7; ; shift += 7 {
		c = b[p]
		p++
		v |= uint64(c&0x7f) << (shift & 63) // it is less: this spares the test whether it is
		if c < 0x80 {
			return v, p
		}
	}
}

func skipUvarint(b []byte, p int) int {
	for b[p] >= 0x80 {
		p++
	}
	return p + 1
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendUvarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	return binary.AppendUvarint(b, v)
}

// utf16Units counts the UTF-16 units that begin in 8 bytes of valid UTF-8: one
// for each byte that is no continuation (10xxxxxx), two for the first of four
// (1111xxxx).
func utf16Units(w uint64) uint64 {
	const high = 0x8080808080808080
	if w&high == 0 {
		return 8
	}
	continuations := w &^ (w << 1) & high
	pairs := w & (w << 1) & (w << 2) & (w << 3) & high
	return uint64(8 - bits.OnesCount64(continuations) + bits.OnesCount64(pairs))
}

// validUTF16Len is utf16Len of bytes that need not be valid UTF-8: it reports whether they are.
func validUTF16Len(b []byte) (n uint64, ok bool) {
	i := plainLen(b)
	n = uint64(i)
	for i < len(b) {
		if len(b)-i >= 8 {
			plain := bits.TrailingZeros64(binary.LittleEndian.Uint64(b[i:])&notPlain) / 8
			i, n = i+plain, n+uint64(plain)
			if plain == 8 {
				continue
			}
		}
		switch c := b[i]; {
		case c < 0x80:
			i, n = i+1, n+1
		case c >= 0xc2 && c < 0xe0 && i+1 < len(b) && b[i+1]&0xc0 == 0x80:
			i, n = i+2, n+1
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return 0, false
			}
			i, n = i+size, n+1+uint64(size/4)
		}
	}
	return n, true
}

// notPlain are the bits of eight bytes that ASCII does not have.
const notPlain = 0x8080808080808080

// plainLen is how many bytes in front are ASCII, from below: what is left, and what is shorter
// than eight bytes, has to be looked at one by one.
func plainLen(b []byte) (n int) {
	for ; len(b)-n >= 32; n += 32 {
		w := b[n : n+32 : n+32]
		if (binary.LittleEndian.Uint64(w)|binary.LittleEndian.Uint64(w[8:])|
			binary.LittleEndian.Uint64(w[16:])|binary.LittleEndian.Uint64(w[24:]))&notPlain != 0 {
			break
		}
	}
	for ; len(b)-n >= 8; n += 8 {
		if binary.LittleEndian.Uint64(b[n:])&notPlain != 0 {
			return n
		}
	}
	if n > 0 && binary.LittleEndian.Uint64(b[len(b)-8:])&notPlain == 0 { // the rest, and some before it once more
		return len(b)
	}
	return n
}

// utf16Len counts the UTF-16 units of valid UTF-8: Yjs clocks count those.
func utf16Len(b []byte) (n uint64) {
	for ; len(b) >= 8; b = b[8:] {
		n += utf16Units(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		if c&0xc0 != 0x80 {
			n++
		}
		if c >= 0xf0 {
			n++
		}
	}
	return n
}

// utf16Offset returns the byte offset of the given UTF-16 unit in valid UTF-8.
// inPair reports that the unit is the second half of a surrogate pair; the
// offset is then that of the pair.
func utf16Offset(b []byte, unit uint64) (off int, inPair bool) {
	var n uint64
	for ; off+8 <= len(b); off += 8 {
		units := utf16Units(binary.LittleEndian.Uint64(b[off:]))
		if n+units >= unit {
			break
		}
		n += units
	}
	last := off
	for ; off < len(b); off++ {
		c := b[off]
		if c&0xc0 == 0x80 {
			continue
		}
		if n >= unit {
			break
		}
		last = off
		n++
		if c >= 0xf0 {
			n++
		}
	}
	if n > unit {
		return last, true
	}
	return off, false
}

// skipAny returns the position behind a well-formed lib0 "any" value.
func skipAny(b []byte, p int) int {
	tag := b[p]
	p++
	var n uint64
	switch tag {
	case 125:
		return skipUvarint(b, p)
	case 124:
		return p + 4
	case 123, 122:
		return p + 8
	case 119, 116:
		n, p = uvarint(b, p)
		return p + int(n)
	case 118:
		n, p = uvarint(b, p)
		for ; n > 0; n-- {
			p = skipString(b, p)
			p = skipAny(b, p)
		}
	case 117:
		n, p = uvarint(b, p)
		for ; n > 0; n-- {
			p = skipAny(b, p)
		}
	}
	return p
}

func skipString(b []byte, p int) int {
	n, p := uvarint(b, p)
	return p + int(n)
}
