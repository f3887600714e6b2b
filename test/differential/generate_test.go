package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// history is a document's updates, as they come to a store.
type history struct {
	seed    uint64
	tidy    bool // each id means one struct, and each client writes in order
	keep    bool // the store keeps what is deleted
	crossed bool // some have neighbours in two lists: what that shows depends on what is collected when
	updates []update
}

// list is what a generator knows of a sequence, or of one key of a map.
type list struct {
	root   string
	parent *id
	sub    *string
	ids    []span // what lies in it, roughly in order
}

type span struct{ client, from, to uint64 }

// generator writes a history: mostly as Yjs clients would, with everything else that
// the wire can say strewn in.
type generator struct {
	source
	clients []uint64
	clocks  map[uint64]uint64
	lists   []*list
	all     []span
	types   []id

	crossed  bool
	replaced []deletion // by the update that is being written
}

func newGenerator(seed uint64) *generator {
	g := &generator{clocks: map[uint64]uint64{}}
	g.Rand = rand.New(rand.NewPCG(seed, 0x15a8))
	g.tidy = g.chance(0.75)
	for range 1 + g.IntN(4) {
		c := pick(&g.source, 0, 1, 2, 120, 128, 16384, 1<<31, 1<<32-1, 1<<45, uint64(1<<53-2)) + uint64(g.IntN(2))
		if !slices.Contains(g.clients, c) {
			g.clients = append(g.clients, c)
		}
	}
	for _, root := range []string{"text", "list", "map", "xml"} {
		g.lists = append(g.lists, &list{root: root})
	}
	return g
}

// newHistory is the history of a seed.
func newHistory(seed uint64) history {
	g := newGenerator(seed)
	var updates []update
	for range 2 + g.IntN(10) {
		updates = append(updates, g.update())
	}
	if g.chance(0.004) {
		updates = append(updates, g.chain(pick(&g.source, 40, 110, 180, 190, 210, 400))...)
	}
	h := history{seed: seed, tidy: g.tidy, keep: seed%3 == 0, crossed: g.crossed, updates: g.deliver(updates)}
	if !g.tidy && g.chance(0.2) {
		g.corrupt(h.updates)
	}
	return h
}

// update is one client's next edit, or several clients' at once.
func (g *generator) update() (u update) {
	n := 1
	if g.chance(0.2) {
		n += g.IntN(3)
	}
	for range n {
		c := pick(&g.source, g.clients...)
		if g.tidy && slices.ContainsFunc(u.blocks, func(x block) bool { return x.client == c }) {
			continue
		}
		u.blocks = append(u.blocks, g.block(c))
	}
	if g.tidy || g.chance(0.7) {
		slices.SortStableFunc(u.blocks, func(a, b block) int {
			if a.client > b.client {
				return -1
			}
			return 1
		})
	}
	u.deletes, g.replaced = g.replaced, nil
	for g.chance(0.35) {
		u.deletes = append(u.deletes, g.deletion())
	}
	return u
}

func (g *generator) block(c uint64) block {
	x := block{client: c, clock: g.clocks[c]}
	if !g.tidy && g.chance(0.15) {
		x.clock = pick(&g.source, 0, x.clock/2, x.clock+1, x.clock+uint64(g.IntN(20)), 1<<31, 1<<51, 1<<52-1, 1<<52, 1<<53-2)
	}
	clock := x.clock
	for i := range 1 + g.IntN(5) {
		p := g.piece(c, clock)
		if !g.tidy && i > 0 && g.chance(0.05) {
			p = piece{kind: kindSkip, length: uint64(g.IntN(5))}
		}
		x.pieces = append(x.pieces, p)
		clock += p.length
	}
	if clock > g.clocks[c] && clock < 1<<50 {
		g.clocks[c] = clock
	}
	return x
}

func (g *generator) piece(c, clock uint64) piece {
	if g.chance(0.04) {
		n := pick(&g.source, 1, 2, 7, uint64(g.IntN(400)))
		if g.chance(0.02) {
			n = pick(&g.source, 1<<31, 1<<49, uint64(1<<51))
		}
		if n > 0 {
			g.all = append(g.all, span{c, clock, clock + n})
		}
		return piece{kind: kindGC, length: n}
	}
	kind := pick[byte](&g.source, kindDeleted, kindJSON, kindBinary, kindString, kindString, kindString, kindEmbed, kindFormat, kindFormat,
		kindType, kindType, kindType, kindAny, kindAny, kindDoc)
	if g.chance(0.002) {
		kind = pick[byte](&g.source, kindMove, 12, 31)
	}
	p := piece{kind: kind}
	p.content, p.length = g.content(kind)
	l := pick(&g.source, g.lists...)
	g.place(&p, l, c, clock)
	if p.length > 0 {
		g.all = append(g.all, span{c, clock, clock + p.length})
	}
	if kind == kindType {
		at := id{c, clock}
		g.types = append(g.types, at)
		for range 2 {
			g.lists = append(g.lists, &list{parent: &at})
		}
	}
	return p
}

// place puts a struct into a list as a client does, or anywhere.
func (g *generator) place(p *piece, l *list, c, clock uint64) {
	switch r := g.Float64(); {
	case r < 0.04: // between any two
		p.origin, p.right = g.anyID(c, clock), g.anyID(c, clock)
		g.crossed = true
		return
	case r < 0.07:
		p.origin = g.anyID(c, clock)
		return
	case r < 0.10:
		p.right = g.anyID(c, clock)
		return
	case r < 0.13: // in anything
		p.parent = g.anyID(c, clock)
		if g.chance(0.5) {
			k := g.sub()
			p.sub = &k
		}
		return
	}
	p.root, p.parent, p.sub = l.root, l.parent, l.sub
	if l.sub == nil && (l.root == "map" && g.chance(0.9) || g.chance(0.15)) {
		l = g.keyed(l, g.sub())
		p.sub = l.sub
	}
	at := len(l.ids)
	if l.sub == nil && at > 0 && g.chance(0.4) {
		at = g.IntN(at + 1)
	}
	if at > 0 {
		s := l.ids[at-1]
		p.origin = &id{s.client, s.to - 1}
		if g.chance(0.2) {
			p.origin.clock = s.from + g.Uint64N(s.to-s.from)
		}
	}
	if at < len(l.ids) {
		p.right = &id{l.ids[at].client, l.ids[at].from}
	}
	if p.origin == nil && p.right == nil || g.chance(0.9) {
		p.sub = l.sub
	}
	if l.sub != nil && p.origin != nil && p.length > 0 && g.chance(0.8) {
		// The next value of a key: mostly the one before it is deleted, as clients write it.
		g.replaced = append(g.replaced, deletion{p.origin.client, p.origin.clock, 1})
	}
	if p.length > 0 {
		l.ids = slices.Insert(l.ids, at, span{c, clock, clock + p.length})
	}
}

// keyed is the list of a key beside l.
func (g *generator) keyed(l *list, key string) *list {
	for _, m := range g.lists {
		if m.root == l.root && m.parent == l.parent && m.sub != nil && *m.sub == key {
			return m
		}
	}
	m := &list{root: l.root, parent: l.parent, sub: &key}
	g.lists = append(g.lists, m)
	return m
}

// anyID is one that is known, the future of somebody, or none of anybody.
func (g *generator) anyID(c, clock uint64) *id {
	switch r := g.Float64(); {
	case r < 0.05:
		other := pick(&g.source, g.clients...)
		return &id{other, g.clocks[other] + uint64(g.IntN(4))}
	case r < 0.07:
		return &id{77, uint64(g.IntN(3))}
	case r < 0.08 && !g.tidy:
		return &id{pick(&g.source, g.clients...), pick(&g.source, 1<<51, 1<<52, uint64(1<<53-1))}
	case r < 0.09 && !g.tidy:
		return &id{c, clock + uint64(g.IntN(3))}
	case len(g.all) == 0:
		return nil
	}
	s := pick(&g.source, g.all...)
	if s.from >= s.to {
		return nil
	}
	return &id{s.client, s.from + g.Uint64N(min(s.to-s.from, 50))}
}

func (g *generator) deletion() deletion {
	if len(g.all) == 0 || g.chance(0.03) {
		return deletion{pick(&g.source, g.clients...), uint64(g.IntN(30)), uint64(g.IntN(9))}
	}
	if len(g.types) > 0 && g.chance(0.3) {
		at := pick(&g.source, g.types...)
		return deletion{at.client, at.clock, 1}
	}
	s := pick(&g.source, g.all...)
	from := s.from + g.Uint64N(s.to-s.from)
	return deletion{s.client, from, min(s.to-from, uint64(1+g.IntN(9)))}
}

// chain is types within each other, of which the outermost is deleted in the end. They
// come together, or each by a client of its own from the innermost on, or joined in the
// middle.
func (g *generator) chain(levels int) (updates []update) {
	c := g.clients[0]
	first := g.clocks[c]
	at := func(i int) id { return id{c, first + uint64(i)} }
	apart := g.chance(0.5)
	if apart {
		at = func(i int) id { return id{5000 + uint64(i), 0} }
	} else {
		g.clocks[c] += uint64(levels)
	}
	x := block{client: c, clock: first}
	for i := range levels {
		p := piece{kind: kindType, length: 1, content: []byte{byte(g.IntN(2))}, root: "list"}
		if i > 0 {
			outer := at(i - 1)
			p.root, p.parent = "", &outer
		}
		if g.chance(0.3) {
			k := "a"
			p.sub = &k
		}
		if !apart {
			x.pieces = append(x.pieces, p)
			continue
		}
		updates = append(updates, update{blocks: []block{{client: at(i).client, pieces: []piece{p}}}})
	}
	switch {
	case !apart:
		updates = []update{{blocks: []block{x}}}
	case g.chance(0.5):
		slices.Reverse(updates)
	default:
		middle := g.IntN(levels)
		updates = append(updates[middle:], updates[:middle]...)
	}
	return append(updates, update{deletes: []deletion{{at(0).client, at(0).clock, 1}}})
}

// deliver brings updates as a network does: late, twice, and some never.
func (g *generator) deliver(updates []update) (out []update) {
	for len(updates) > 0 {
		i := 0
		if g.chance(0.2) {
			i = g.IntN(len(updates))
		}
		u := updates[i]
		if g.chance(0.05) {
			out = append(out, u)
		} else if g.chance(0.97) {
			updates = slices.Delete(updates, i, i+1)
			out = append(out, u)
		} else if g.chance(0.3) {
			updates = slices.Delete(updates, i, i+1)
		}
	}
	return out
}

// corrupt changes bytes of an update.
func (g *generator) corrupt(updates []update) {
	if len(updates) == 0 {
		return
	}
	u := &updates[g.IntN(len(updates))]
	b := slices.Clone(u.encode())
	for range 1 + g.IntN(3) {
		b[g.IntN(len(b))] = byte(g.IntN(256))
	}
	if g.chance(0.2) {
		b = b[:1+g.IntN(len(b))]
	}
	u.bytes = b
}

func (h history) String() string {
	s := fmt.Sprintf("seed %d\n", h.seed)
	for _, u := range h.updates {
		s += fmt.Sprintf("  %x\n    %v\n", u.encode(), u)
	}
	return s
}
