package differential

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
)

// source draws what a history is made of.
type source struct {
	*rand.Rand
	tidy bool // no pairs of surrogates: Yjs cuts them, and disagrees with itself then
}

func pick[T any](s *source, of ...T) T { return of[s.IntN(len(of))] }

func (s *source) chance(p float64) bool { return s.Float64() < p }

func (s *source) word() string {
	w := pick(s, "a", "b", "hello ", "ж", "日本", "\n", "\u0000", "\ufeff", "", "__proto__", strings.Repeat("x", s.IntN(40)))
	if !s.tidy && s.chance(0.1) {
		w += "😀"
	}
	return w
}

func (s *source) key() string {
	return pick(s, "a", "a", "b", "c", "", "ключ", "__proto__", "constructor", "toString", "length", "guid", "0", "-1")
}

// sub draws a key of a map.
func (s *source) sub() string {
	if k := s.key(); k != "__proto__" || s.chance(0.05) {
		return k
	}
	return "__proto"
}

// any appends a value of lib0's "any".
func (s *source) any(b []byte, depth int) []byte {
	kinds := 10
	if depth > 0 {
		kinds = 12
	}
	switch s.IntN(kinds) {
	case 0:
		return append(b, 127)
	case 1:
		return append(b, 126)
	case 2:
		return signed(append(b, 125), pick(s, 0, 1, -1, 63, 64, -64, 1<<31, -(1<<31), 1<<40, 1<<53-1, int64(s.IntN(1000))))
	case 3:
		return binary.BigEndian.AppendUint32(append(b, 124), math.Float32bits(pick(s, 0, 1.5, float32(math.NaN()), float32(math.Inf(1)))))
	case 4:
		return binary.BigEndian.AppendUint64(append(b, 123), math.Float64bits(pick(s, 0.1, math.Copysign(0, -1), math.NaN(), math.Inf(-1), 1e300)))
	case 5:
		return binary.BigEndian.AppendUint64(append(b, 122), pick(s, 0, 1, uint64(math.MaxUint64), 1<<63))
	case 6:
		return append(b, 121)
	case 7:
		return append(b, 120)
	case 8:
		return text(append(b, 119), s.word())
	case 9:
		n := s.IntN(9)
		return append(uvarint(append(b, 116), uint64(n)), make([]byte, n)...)
	case 10:
		n := s.IntN(4)
		b = uvarint(append(b, 118), uint64(n))
		for range n {
			b = s.any(text(b, s.key()), depth-1)
		}
		return b
	default:
		n := s.IntN(4)
		b = uvarint(append(b, 117), uint64(n))
		for range n {
			b = s.any(b, depth-1)
		}
		return b
	}
}

// deep appends a value in so many arrays.
func deep(b []byte, levels int) []byte {
	for range levels {
		b = append(b, 117, 1)
	}
	return append(b, 126)
}

// signed appends an integer as lib0's writeVarInt does.
func signed(b []byte, v int64) []byte {
	sign := byte(0)
	u := uint64(v)
	if v < 0 {
		sign, u = 0x40, uint64(-v)
	}
	if u < 0x40 {
		return append(b, byte(u)|sign)
	}
	return binary.AppendUvarint(append(b, byte(u&0x3f)|sign|0x80), u>>6)
}

func (s *source) json() string {
	if s.chance(0.005) {
		return pick(s, "", "{", "undefined", "nul", "'a'", "[1,]", strings.Repeat("[", 300)+strings.Repeat("]", 300))
	}
	if !s.tidy && s.chance(0.1) {
		return pick(s, "1e400", "-0") // become null and 0 when Yjs writes them again
	}
	return pick(s, "null", "true", "1", `"x"`, `""`, `{}`, `[]`, `{"a":[1,null,{"b":"c"}]}`, `{"__proto__":{"x":1}}`, `{"toString":1}`, ` 1 `)
}

// content draws one of a kind, with its length.
func (s *source) content(kind byte) (b []byte, length uint64) {
	switch kind {
	case kindDeleted:
		length = pick(s, 1, 1, 2, 5, 1<<20, uint64(s.IntN(300)))
		return uvarint(nil, length), length
	case kindJSON:
		length = uint64(s.IntN(4))
		b = uvarint(nil, length)
		for range length {
			if s.chance(0.2) {
				b = text(b, "undefined")
			} else {
				b = text(b, s.json())
			}
		}
		return b, length
	case kindBinary:
		return text(nil, s.word()), 1
	case kindString:
		w := s.word()
		return text(nil, w), uint64(len(utf16.Encode([]rune(w))))
	case kindEmbed:
		return text(nil, s.json()), 1
	case kindFormat:
		return text(text(nil, pick(s, "bold", "bold", "italic", s.key())), pick(s, "true", "null", "null", s.json())), 1
	case kindType:
		ref := uint64(s.IntN(7))
		if s.chance(0.003) {
			ref = pick(s, 7, 8, 200, uint64(1<<40))
		}
		b = uvarint(nil, ref)
		if ref == 3 || ref == 5 || ref == 7 {
			b = text(b, pick(s, "p", "div", "P", "ünï", "", "__proto__"))
		}
		return b, 1
	case kindAny:
		if s.chance(0.003) {
			return deep([]byte{1}, pick(s, 150, 199, 200, 5000)), 1
		}
		length = uint64(1 + s.IntN(4))
		if s.chance(0.03) {
			length = 0
		}
		b = uvarint(nil, length)
		for range length {
			b = s.any(b, 3)
		}
		return b, length
	case kindDoc:
		return s.options(text(nil, pick(s, "g", "h", "", s.word()))), 1
	default:
		return s.any(nil, 1), 1 // of no kind that there is
	}
}

// options appends those of a subdocument, of all shapes.
func (s *source) options(b []byte) []byte {
	if s.chance(0.02) {
		return s.any(b, 2)
	}
	n := pick(s, 0, 0, 1, 2, 4)
	b = uvarint(append(b, 118), uint64(n))
	for range n {
		key := pick(s, "gc", "autoLoad", "meta", "meta", "shouldLoad", "collectionid", "encoding", "isSuggestionDoc", s.key())
		if s.chance(0.03) {
			key = pick(s, "guid", "gcFilter", "__proto__")
		}
		b = s.any(text(b, key), 2)
	}
	return b
}
