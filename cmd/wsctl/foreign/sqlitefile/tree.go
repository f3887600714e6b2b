package sqlitefile

import (
	"encoding/binary"
	"math"
)

// walk goes through the b-tree of a table [1.6].
type walk struct {
	db   *DB
	seen int64 // pages, to end in a circle
}

// Kinds of pages.
const (
	interior = 0x05
	leaf     = 0x0d
)

// maxDepth is more than a tree of SQLite's has.
const maxDepth = 40

func (w *walk) table(n int64, depth int, each func(record []byte) error) error {
	if w.seen++; w.seen > w.db.pages || depth > maxDepth {
		return errDamaged
	}
	p, err := w.db.page(n)
	if err != nil {
		return err
	}
	at := 0
	if n == 1 {
		at = headerSize
	}
	kind, cells, header := p[at], int(binary.BigEndian.Uint16(p[at+3:])), at+8
	if kind == interior {
		header += 4
	}
	if kind != interior && kind != leaf || header+2*cells > len(p) {
		return errDamaged // also a table without rowids, which is another kind of tree
	}
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(p[header+2*i:]))
		if cell < header || cell+4 > len(p) {
			return errDamaged
		}
		if kind == interior {
			err = w.table(int64(binary.BigEndian.Uint32(p[cell:])), depth+1, each)
		} else {
			err = w.record(p[cell:], each)
		}
		if err != nil {
			return err
		}
	}
	if kind == interior {
		return w.table(int64(binary.BigEndian.Uint32(p[at+8:])), depth+1, each)
	}
	return nil
}

// record collects a record, whose end may be in other pages.
func (w *walk) record(cell []byte, each func(record []byte) error) error {
	length, n := varint(cell)
	if n == 0 || length > maxValue {
		return errDamaged
	}
	_, m := varint(cell[n:]) // the rowid
	if m == 0 {
		return errDamaged
	}
	body, here := cell[n+m:], local(int(length), w.db.usable)
	if here > len(body) {
		return errDamaged
	}
	if here == int(length) {
		return each(body[:here])
	}
	if here+4 > len(body) {
		return errDamaged
	}
	record, next := append([]byte{}, body[:here]...), int64(binary.BigEndian.Uint32(body[here:]))
	for len(record) < int(length) {
		p, err := w.db.page(next)
		if err != nil {
			return err
		}
		record = append(record, p[4:4+min(len(p)-4, int(length)-len(record))]...)
		next = int64(binary.BigEndian.Uint32(p))
	}
	return each(record)
}

// local is how much of a record is in its cell.
func local(length, usable int) int {
	most := usable - 35
	if length <= most {
		return length
	}
	least := (usable-12)*32/255 - 23
	if k := least + (length-least)%(usable-4); k <= most {
		return k
	}
	return least
}

// varint reads a number; its length is 0 if it is not whole.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		if n++; b[n-1] < 0x80 {
			return v, n
		}
	}
	if n == 8 && len(b) > 8 {
		return v<<8 | uint64(b[8]), 9
	}
	return 0, 0
}

// values takes a record apart [2.1].
func values(record []byte) ([]any, error) {
	size, n := varint(record)
	if n == 0 || size < uint64(n) || size > uint64(len(record)) {
		return nil, errDamaged
	}
	types, body := record[n:size], record[size:]
	var all []any
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 {
			return nil, errDamaged
		}
		types = types[n:]
		length := lengthOf(kind)
		if length > uint64(len(body)) {
			return nil, errDamaged
		}
		all = append(all, value(kind, body[:length]))
		body = body[length:]
	}
	return all, nil
}

func lengthOf(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind == 7:
		return 8
	case kind > 7:
		return 0
	}
	return []uint64{0, 1, 2, 3, 4, 6, 8}[kind]
}

func value(kind uint64, b []byte) any {
	switch {
	case kind >= 13 && kind%2 == 1:
		return string(b)
	case kind >= 12:
		return append([]byte{}, b...)
	case kind == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case kind == 8 || kind == 9:
		return int64(kind - 8)
	case kind == 0 || kind > 9:
		return nil
	}
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v
}
