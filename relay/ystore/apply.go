package ystore

import (
	"errors"
	"slices"
)

// Apply merges an update into the document, as a whole or, when it returns an
// error, not at all.
//
// fresh is what of it was new, as an update to forward; nil if nothing was. When
// all of it was new, fresh aliases update; the store itself keeps nothing of
// update. An update that brings nothing does not grow the store.
//
// The error is an *UpdateError, or wraps one of the Err conditions of Limits.
func (s *Store) Apply(update []byte) (fresh []byte, err error) {
	x := s.change()
	defer x.end()
	return x.apply(update, Terms{Limited: true})
}

// Terms are what ApplyShared asks of an update.
type Terms struct {
	// Limited holds it against the limits, of which MaxNesting always holds. They are
	// for what clients send: what another store has taken once is not judged again, for
	// stores of one document must not differ because each was full in its own way.
	Limited bool
	// Gapless refuses it, with ErrGap, if it opens a gap: some of its structs follow on
	// nothing that the store has of their client id, neither before a gap nor behind one.
	Gapless bool

	// Given says that the memory of the update is the store's from then on: nobody changes it
	// any more.
	Given bool

	straight bool // refuse it, with errCircle, if structs hang on each other in a circle
}

var errCircle = errors.New("structs hang on each other in a circle")

// ErrGap is returned for an update that opens a gap and was not to.
var ErrGap = errors.New("update opens a gap")

// ApplyShared is Apply that also returns what Yjs clients are to be sent, if they have
// been sent everything before: what is new, and with it once more what waited in them and
// can be integrated now. It is fresh itself where nothing waited.
func (s *Store) ApplyShared(update []byte, t Terms) (fresh, deliver []byte, err error) {
	x := s.change()
	defer x.end()
	fresh, err = x.apply(update, t)
	switch {
	case fresh == nil:
	case x.restored: // of ids that they have, clients must not be sent more: see restore
		return fresh, x.encodeSpans(append(x.fresh, x.integrable...)), nil
	case len(x.integrable) > 0:
		return fresh, x.encodeDelivery(fresh), nil
	}
	return fresh, fresh, err
}

func (x *change) apply(update []byte, t Terms) (fresh []byte, err error) {
	sum := x.summary()
	switch err = x.check(update, t.Limited, sum); {
	case err != nil:
		return nil, err
	case sum.opens && t.Gapless:
		return nil, ErrGap
	case sum.circle && t.straight:
		return nil, errCircle
	}
	if sum.restores {
		if fresh, ok := x.restore(update); ok {
			return fresh, nil
		}
	}
	x.work += runWork * len(x.newcomers)
	x.begin()
	before := x.anyWaits()
	x.later, x.placed = before || sum.waits && !(sum.plain && x.types.plain), false
	digest := x.digest
	x.given = t.Given && x.totals.given.takes(update)
	x.applyStructs(update, sum)
	x.applyDeletes(update, sum)
	if len(x.fresh) == 0 && len(x.gone) == 0 {
		return nil, nil
	}
	if x.later {
		x.integrateLater(sum, before)
	}
	buried := x.bury()
	x.full = nil
	if x.digest != digest {
		x.deletesEnc = nil
	}
	if sum.canonical && sum.sorted && !buried && x.allNew(sum) {
		fresh = update[:sum.end:sum.end]
	} else {
		fresh = x.encodeFresh()
	}
	x.sweepStep(1)
	return fresh, nil
}

// integrateLater finds what of an update can be integrated with what waits, before it or in it.
func (x *change) integrateLater(sum *summary, before bool) {
	x.types.hanging = max(x.types.hanging, sum.hanging)
	x.placeMissing()
	if before || sum.circle || !x.allMet() {
		x.fresh = union(x.fresh)
		x.integrateFresh()
	}
	if !x.anyWaits() {
		x.types.hanging = 0
	}
}

// Brings reports whether update would bring anything new, without applying it.
func (s *Store) Brings(update []byte) (brings bool, err error) {
	x := s.change()
	defer x.end()
	sum := x.summary()
	if err := x.check(update, true, sum); err != nil {
		return false, err
	}
	if sum.restores && x.rebuilt(update) != nil {
		return true, nil
	}
	it := &x.it
	x.eachStruct(update, func(client uint64, _, _ int) bool {
		r := s.run(client)
		brings = it.kind != kindSkip && it.len > 0 && (r == nil || !r.holds(it.clock, it.end()) ||
			deleted(it.kind) && !r.lacks(it.clock, it.end()))
		return !brings
	})
	if brings {
		return true, nil
	}
	x.eachRange(update, sum, func(d span) bool {
		r := s.run(d.client)
		brings = r == nil || !r.lacks(d.from, d.to)
		return !brings
	})
	return brings, nil
}

// holds reports whether all ids in the range are of structs that we have.
func (r *run) holds(from, to uint64) bool {
	if to <= r.next {
		return true
	}
	return to <= r.end && r.all(from, to, func(e entry) bool { return known(e.kind()) }, func(l *leaf) bool { return l.gaps == 0 })
}

// lacks reports whether all ids in the range are known to be deleted.
func (r *run) lacks(from, to uint64) bool {
	return to <= r.end && r.all(from, to, entry.deleted, func(l *leaf) bool { return int(l.deleted) == len(l.ents) })
}

// all reports whether all entries in the range are so; whole says it of a leaf
// at once.
func (r *run) all(from, to uint64, so func(entry) bool, whole func(*leaf) bool) bool {
	for from < to {
		l := r.leafAt(from)
		if whole(l) {
			from = l.end
			continue
		}
		for i := l.find(from); i < len(l.ents) && from < to; i++ {
			if !so(l.ents[i]) {
				return false
			}
			from = l.endOf(i)
		}
	}
	return true
}

// summary is what check learns of an update.
type summary struct {
	end       int // of the bytes that were read
	deletesAt int // where the delete set begins
	ranges    uint64
	newIDs    uint64 // length of all structs
	deletes   uint64 // length of all delete ranges
	canonical bool   // structs are in the order in which we would write them
	tight     bool   // and each as we would
	sorted    bool   // delete ranges are
	opens     bool   // a struct lies behind all that is known of its client, and a gap
	waits     bool   // a struct hangs on what was not there before
	plain     bool   // all lies in the list of a root if the rest does, although something waits: see allPlain
	circle    bool   // structs hang on each other in a circle
	restores  bool   // it has content of what is kept without
	nested    bool   // some of it may lie elsewhere than in the list of a root
	types     int    // new ones
	hanging   int    // see types; at most
}

// check reads an update whole and, if it is to be limited, holds it against the caps. What it
// learns is put into an empty summary.
func (x *change) check(update []byte, limited bool, sum *summary) error {
	var c checker // filled in place: a literal would be made first, and then copied
	c.b, c.nesting, c.it = update, x.limits.MaxNesting, &x.it
	sum.canonical, sum.sorted = true, true
	x.newcomers = x.newcomers[:0]
	x.blocks = x.blocks[:0]
	x.clocks = x.clocks[:0]
	x.waits = x.waits[:0]
	x.reads.n = 0
	x.copies, x.starts = x.copies[:0], x.starts[:0]
	pending := x.totals.pending
	above := uint64(maxClock + 1)
	blocks := c.uvarint()
	for many := blocks > 1; blocks > 0 && c.err == nil; blocks-- {
		at := c.p
		n := c.uvarint()
		client := c.uvarint()
		clock := c.uvarint()
		if n == 0 || client >= above {
			sum.canonical = false
		}
		above = client
		waiting, next := x.checkBlock(&c, sum, n, client, clock)
		pending += waiting
		if many {
			x.blocks = append(x.blocks, id{client, uint64(at)})
			x.clocks = append(x.clocks, id{client, next})
		}
	}
	if !sum.canonical {
		checkBlocks(&c, x.blocks)
	}
	sum.tight, sum.nested = !c.loose, c.nested
	sum.deletesAt = c.p
	x.checkDeletes(&c, sum)
	sum.end = c.p
	sum.waits = sum.waits || pending > x.totals.pending
	if sum.waits {
		x.checkCircle(&c, sum, limited)
		sum.plain = pending == 0 && x.allPlain(&c, sum)
	}
	if sum.waits || sum.types > 0 {
		x.checkDepth(&c, sum, limited)
	}
	if c.err != nil || !limited {
		return c.err
	}
	return growth{x, update, sum}.check(pending)
}

// checkBlock reads one client's structs and returns how many of them would be
// pending, and what would be missing of the client next.
func (x *change) checkBlock(c *checker, sum *summary, n, client, clock uint64) (pending int, next uint64) {
	r, x := x.run(client), x
	reach := uint64(0)
	if r != nil {
		next, reach = r.next, r.tail
	}
	fresh := false
	noting := n >= minCopied && x.noteBlock(c, r, n, clock)
	copies := noting
	for i := uint64(0); i < n && c.err == nil; i++ {
		at := c.p
		if c.it = x.reads.next(client); c.it == nil {
			c.it = &x.it
		}
		kind, length := c.structAt(client, clock)
		end := clock + length
		if n > 1 { // one alone is mostly joined with what is there
			c.it.raw = c.b[at:c.p]
		}
		copies = copies && x.noteStart(c, client, at, i == 0)
		there := r != nil && end <= r.end && r.holds(clock, end)
		if c.ncauses > 0 && !there {
			x.noteWaits(c, sum, r, client, clock, at)
		}
		switch {
		case length == 0 || kind == kindSkip && (i == 0 || i == n-1):
			sum.canonical = false
		case kind == kindSkip:
		case clock <= next:
			next = max(next, end)
			fresh = true
		case !there:
			pending++
			fresh = true
			sum.opens = sum.opens || clock > max(next, reach)
			reach = max(reach, end)
		}
		if kind != kindSkip {
			sum.newIDs += length
		}
		if x.keep && x.restores(r, kind, clock, end) {
			sum.restores = true
		}
		if kind == kindType && !there {
			sum.types++
		}
		clock = end
	}
	if r == nil && fresh {
		x.newcomers = append(x.newcomers, client)
	}
	if noting {
		x.noteEnd(c, clock, copies)
	}
	return pending, next
}

// noteWaits notes what the struct that was read last waits for.
func (x *change) noteWaits(c *checker, sum *summary, r *run, client, clock uint64, at int) {
	for _, on := range c.causes[:c.ncauses] {
		if len(x.list) > 0 && x.integrableAt(on) {
			continue
		}
		sum.waits = true
		if r != nil {
			clock = max(clock, r.next) // what is known of the struct already waits for nothing
		}
		// One that waits for the same client's earlier id waits no longer for that.
		if n := len(x.waits); n > 0 {
			if w := x.waits[n-1]; w.client == client && w.clock <= clock && w.on.client == on.client && w.on.clock >= on.clock {
				continue
			}
		}
		x.waits = append(x.waits, wait{client, clock, on, at})
	}
}

// maxBlocks is how many blocks of one client an update may have. There should
// be one; Yjs loses all but the last, we merge a few.
const maxBlocks = 16

// checkBlocks refuses an update with many blocks of one client: each costs a
// look at all that is known of the client.
func checkBlocks(c *checker, blocks []id) {
	slices.SortStableFunc(blocks, descending)
	for i := maxBlocks; i < len(blocks); i++ {
		if blocks[i].client == blocks[i-maxBlocks].client {
			c.fail(int(blocks[i].clock), "too many blocks of one client")
		}
	}
}

func (x *change) checkDeletes(c *checker, sum *summary) {
	clients := c.uvarint()
	above := uint64(maxClock + 1)
	for i := uint64(0); i < clients && c.err == nil; i++ {
		client := c.uvarint()
		n := c.uvarint()
		if client >= above {
			sum.sorted = false
		}
		above = client
		before := uint64(0)
		fresh := false
		for j := uint64(0); j < n && c.err == nil; j++ {
			at := c.p
			clock := c.uvarint()
			length := c.uvarint()
			if length > maxClock-clock {
				c.fail(at, "delete range above 2^53-1")
				return
			}
			if clock < before || length == 0 {
				sum.sorted = false
			}
			before = clock + length
			fresh = fresh || length > 0
			sum.ranges++
			sum.deletes += length
		}
		if fresh && x.run(client) == nil {
			x.newcomers = append(x.newcomers, client)
		}
	}
}

// eachStruct decodes the structs of a checked update into it, one
// after the other, until f returns false. at and size are those on the wire.
func (x *reading) eachStruct(update []byte, f func(client uint64, at, size int) bool) {
	it := &x.it
	blocks, p := uvarint(update, 0)
	for ; blocks > 0; blocks-- {
		var n, client, clock uint64
		n, p = uvarint(update, p)
		client, p = uvarint(update, p)
		clock, p = uvarint(update, p)
		for ; n > 0; n-- {
			start := p
			p = it.decode(update, p, clock)
			clock += it.len
			if !f(client, start, p-start) {
				return
			}
		}
	}
}

// eachRange calls f for the delete ranges of a checked update, sorted and apart,
// until it returns false.
func (x *change) eachRange(update []byte, sum *summary, f func(span) bool) {
	if sum.ranges == 0 {
		return
	}
	if sum.sorted {
		x.work += rangeWork * int(sum.ranges)
		readRanges(update, sum.deletesAt, f)
		return
	}
	x.work += sortWork * int(sum.ranges)
	// Sorted and joined first: ranges that overlap again and again must not cost
	// a walk over the document each.
	spans := x.spans[:0]
	readRanges(update, sum.deletesAt, func(d span) bool {
		if d.from < d.to {
			spans = append(spans, d)
		}
		return true
	})
	x.spans = spans
	for _, d := range union(spans) {
		if !f(d) {
			return
		}
	}
}

func readRanges(update []byte, p int, f func(span) bool) {
	clients, p := uvarint(update, p)
	for ; clients > 0; clients-- {
		var client, n, clock, length uint64
		client, p = uvarint(update, p)
		n, p = uvarint(update, p)
		for ; n > 0; n-- {
			clock, p = uvarint(update, p)
			length, p = uvarint(update, p)
			if !f(span{client, clock, clock + length}) {
				return
			}
		}
	}
}
