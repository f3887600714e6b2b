package ystore

import (
	"cmp"
	"slices"
)

// lenientNesting bounds the levels below Limits.MaxNesting that Sound reads over.
const lenientNesting = 1 << 13

// Sound returns what can be taken of an update that Apply refuses because of content
// of Yrs or of values nested too deeply, to be given to Apply; left says what was
// left out first. sound is nil if nothing can be taken, left if nothing was left out.
//
// What is taken is closed: of each client id all before the first struct that is left
// out. A struct is left out with all that its client wrote after it, and with what
// hangs on any of that: everywhere else it would wait for ever. Nothing is put in the
// place of what is left out, as a tombstone would be: it would delete in its author's
// own document what only cannot be shared. Deletions are taken only of what comes with
// the update: those of older content may belong to what should replace it, which is
// left out.
//
// The error is an *UpdateError, for an update of which nothing can be taken.
func (s *Store) Sound(update []byte) (sound []byte, left *UpdateError, err error) {
	x := s.change()
	defer x.end()
	c := checker{b: update, nesting: s.limits.MaxNesting, lenient: true, it: &x.it}
	p := parts{cut: make(map[uint64]uint64)}
	for blocks := c.uvarint(); blocks > 0 && c.err == nil; blocks-- {
		n := c.uvarint()
		client := c.uvarint()
		p.read(&c, n, client, c.uvarint())
	}
	deletesAt := c.p
	var sum summary
	x.newcomers = x.newcomers[:0]
	x.checkDeletes(&c, &sum)
	if c.err != nil {
		return nil, nil, c.err
	}
	if p.left == nil {
		return update[:c.p:c.p], nil, nil
	}
	p.close()
	sound, brought := p.take(s, update)
	if sound == nil {
		return nil, p.left, nil
	}
	return x.appendDeletesOf(sound, brought, update, deletesAt), p.left, nil
}

// parts are the structs of an update that is taken in part.
type parts struct {
	structs []part
	waits   []wait
	cut     map[uint64]uint64 // of each client, the first id that is left out
	left    *UpdateError
}

type part struct {
	span     // its ids
	at   int // where it begins, and ends
	end  int
	kind byte
}

// read reads the structs of a block.
func (p *parts) read(c *checker, n, client, clock uint64) {
	for ; n > 0 && c.err == nil; n-- {
		at := c.p
		c.noted = nil
		kind, length := c.structAt(client, clock)
		if c.noted != nil {
			if p.left == nil {
				p.left = c.noted
			}
			p.leave(client, clock)
		}
		for _, on := range c.causes[:c.ncauses] {
			p.waits = append(p.waits, wait{client, clock, on, at})
		}
		p.structs = append(p.structs, part{span{client, clock, clock + length}, at, c.p, kind})
		clock += length
	}
}

func (p *parts) leave(client, clock uint64) {
	if at, ok := p.cut[client]; !ok || clock < at {
		p.cut[client] = clock
	}
}

// close leaves out what hangs on what is left out.
func (p *parts) close() {
	var o order
	o.begin(p.waits, nil)
	for client, at := range p.cut {
		o.cut(client, at)
	}
	o.walk()
	for client, l := range o.lanes {
		if l != nil && l.end <= maxClock {
			p.leave(client, l.end)
		}
	}
}

// take writes the structs that are not left out, and returns the ids that are new.
func (p *parts) take(s *Store, update []byte) (b []byte, brought []span) {
	type head struct{ client, clock, n uint64 }
	var heads []head
	var bodies [][]byte
	for i, x := range p.structs {
		if at, ok := p.cut[x.client]; ok && x.from >= at {
			continue
		}
		if n := len(heads); n == 0 || i == 0 || heads[n-1].client != x.client || p.structs[i-1].to != x.from || p.structs[i-1].end != x.at {
			heads, bodies = append(heads, head{x.client, x.from, 0}), append(bodies, nil)
		}
		h := &heads[len(heads)-1]
		h.n++
		bodies[len(bodies)-1] = append(bodies[len(bodies)-1], update[x.at:x.end]...)
		if r := s.run(x.client); x.kind != kindSkip && (r == nil || !r.holds(x.from, x.to)) {
			from := x.from
			if r != nil {
				from = max(from, r.next)
			}
			brought = append(brought, span{x.client, from, x.to})
		}
	}
	if len(heads) == 0 {
		return nil, nil
	}
	b = appendUvarint(nil, uint64(len(heads)))
	for i, h := range heads {
		b = appendUvarint(appendUvarint(appendUvarint(b, h.n), h.client), h.clock)
		b = append(b, bodies[i]...)
	}
	return b, union(brought)
}

// appendDeletesOf appends the part of an update's delete set that lies in the given
// ranges, which are sorted and apart.
func (x *result) appendDeletesOf(b []byte, in []span, update []byte, deletesAt int) []byte {
	gone := x.gone[:0]
	readRanges(update, deletesAt, func(d span) bool {
		i, _ := slices.BinarySearchFunc(in, d, func(a, d span) int {
			return cmp.Or(cmp.Compare(d.client, a.client), cmp.Compare(a.to, d.from+1))
		})
		for ; i < len(in) && in[i].client == d.client && in[i].from < d.to; i++ {
			if from, to := max(d.from, in[i].from), min(d.to, in[i].to); from < to {
				gone = append(gone, span{d.client, from, to})
			}
		}
		return true
	})
	x.gone = union(gone)
	return x.appendGone(b)
}

// move reads over the content of a move (yrs, block.rs).
func (c *checker) move() {
	at := c.p
	c.varint()
	collapsed := c.err == nil && c.b[at]&1 != 0
	c.id()
	if !collapsed {
		c.id()
	}
}

// weakLink reads over what a weak link points to (yrs, types/mod.rs).
func (c *checker) weakLink() {
	flags := c.byte()
	c.id()
	if flags&1 != 0 {
		c.id()
	}
}
