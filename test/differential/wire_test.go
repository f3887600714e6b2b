package differential

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The wire's kinds of structs, and the bits of their info byte.
const (
	kindGC = iota
	kindDeleted
	kindJSON
	kindBinary
	kindString
	kindEmbed
	kindFormat
	kindType
	kindAny
	kindDoc
	kindSkip
	kindMove // of Yrs

	hasOrigin = 0x80
	hasRight  = 0x40
	hasSub    = 0x20
)

type id struct{ client, clock uint64 }

// piece is one struct of an update.
type piece struct {
	kind          byte
	length        uint64
	origin, right *id
	parent        *id // root, if nil
	root          string
	sub           *string
	content       []byte // on the wire
}

type block struct {
	client, clock uint64
	pieces        []piece
}

type deletion struct{ client, clock, length uint64 }

// update is one as it is written: in any order, with any content.
type update struct {
	blocks  []block
	deletes []deletion
	bytes   []byte // sent instead, if any
}

func uvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func text(b []byte, s string) []byte { return append(uvarint(b, uint64(len(s))), s...) }

func (u update) encode() []byte {
	if u.bytes != nil {
		return u.bytes
	}
	b := uvarint(nil, uint64(len(u.blocks)))
	for _, x := range u.blocks {
		b = uvarint(uvarint(uvarint(b, uint64(len(x.pieces))), x.client), x.clock)
		for _, p := range x.pieces {
			b = p.append(b)
		}
	}
	var clients []uint64
	for _, d := range u.deletes {
		if !slices.Contains(clients, d.client) {
			clients = append(clients, d.client)
		}
	}
	b = uvarint(b, uint64(len(clients)))
	for _, c := range clients {
		n := uint64(0)
		var ranges []byte
		for _, d := range u.deletes {
			if d.client == c {
				n++
				ranges = uvarint(uvarint(ranges, d.clock), d.length)
			}
		}
		b = append(uvarint(uvarint(b, c), n), ranges...)
	}
	return b
}

func (p piece) append(b []byte) []byte {
	info := p.kind
	if p.kind == kindGC || p.kind == kindSkip {
		return uvarint(append(b, info), p.length)
	}
	if p.origin != nil {
		info |= hasOrigin
	}
	if p.right != nil {
		info |= hasRight
	}
	if p.sub != nil {
		info |= hasSub
	}
	b = append(b, info)
	for _, at := range []*id{p.origin, p.right} {
		if at != nil {
			b = uvarint(uvarint(b, at.client), at.clock)
		}
	}
	if p.origin == nil && p.right == nil {
		if p.parent != nil {
			b = uvarint(uvarint(append(b, 0), p.parent.client), p.parent.clock)
		} else {
			b = text(append(b, 1), p.root)
		}
		if p.sub != nil {
			b = text(b, *p.sub)
		}
	}
	return append(b, p.content...)
}

// hangs returns the ids that the struct must have before it.
func (p piece) hangs() (on []id) {
	if p.kind == kindGC || p.kind == kindSkip {
		return nil
	}
	for _, at := range []*id{p.origin, p.right} {
		if at != nil {
			on = append(on, *at)
		}
	}
	if len(on) == 0 && p.parent != nil {
		on = append(on, *p.parent)
	}
	return on
}

// String shows an update so that one can think about it.
func (u update) String() string {
	var b strings.Builder
	if u.bytes != nil {
		b.WriteString("(bytes changed) ")
	}
	for _, x := range u.blocks {
		clock := x.clock
		for _, p := range x.pieces {
			fmt.Fprintf(&b, "%d:%d+%d kind %d", x.client, clock, p.length, p.kind)
			for name, at := range map[string]*id{"origin": p.origin, "right": p.right, "parent": p.parent} {
				if at != nil {
					fmt.Fprintf(&b, " %s %d:%d", name, at.client, at.clock)
				}
			}
			if p.kind != kindGC && p.kind != kindSkip && p.origin == nil && p.right == nil && p.parent == nil {
				fmt.Fprintf(&b, " in %q", p.root)
			}
			if p.sub != nil {
				fmt.Fprintf(&b, " under %q", *p.sub)
			}
			fmt.Fprintf(&b, " %.60q; ", p.content)
			clock += p.length
		}
	}
	for _, d := range u.deletes {
		fmt.Fprintf(&b, "delete %d:%d+%d; ", d.client, d.clock, d.length)
	}
	return b.String()
}

// whole reports whether nothing is missing once the updates are there: all structs
// can be integrated, and what is deleted is known.
func whole(updates []update) bool {
	type span struct {
		from, to uint64
		on       []id
	}
	spans := map[uint64][]span{}
	ends := map[uint64]uint64{}
	for _, u := range updates {
		if u.bytes != nil {
			return false // who knows
		}
		for _, x := range u.blocks {
			clock := x.clock
			for _, p := range x.pieces {
				if p.kind != kindSkip && p.length > 0 {
					spans[x.client] = append(spans[x.client], span{clock, clock + p.length, p.hangs()})
					ends[x.client] = max(ends[x.client], clock+p.length)
				}
				clock += p.length
			}
		}
	}
	reach := map[uint64]uint64{}
	for moved := true; moved; {
		moved = false
		for client, list := range spans {
			for _, s := range list {
				if s.from <= reach[client] && reach[client] < s.to &&
					!slices.ContainsFunc(s.on, func(at id) bool { return at.clock >= reach[at.client] }) {
					reach[client] = s.to
					moved = true
				}
			}
		}
	}
	for client, end := range ends {
		if reach[client] < end {
			return false
		}
	}
	for _, u := range updates {
		for _, d := range u.deletes {
			if reach[d.client] < d.clock+d.length && d.length > 0 {
				return false
			}
		}
	}
	return true
}
