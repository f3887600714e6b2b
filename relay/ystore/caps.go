package ystore

import (
	"fmt"
	"slices"
)

// growth is what a checked update would add to a document. It changes nothing. To say more
// than a bound, it reads the update again: it is asked only where the bound does not decide.
type growth struct {
	x      *change
	update []byte
	sum    *summary
}

// check holds the document as it would be, with what would be pending, against the limits.
func (g growth) check(pending int) error {
	x, sum, l := g.x, g.sum, &g.x.limits
	if l.MaxDeleteRanges > 0 && sum.ranges > uint64(l.MaxDeleteRanges) {
		if n := g.ranges(); n > l.MaxDeleteRanges {
			return fmt.Errorf("%w: %d new ones in one update, at most %d", ErrTooManyDeleteRanges, n, l.MaxDeleteRanges)
		}
	}
	if l.MaxPendingStructs > 0 && pending > l.MaxPendingStructs && pending > x.totals.pending {
		return fmt.Errorf("%w: %d, at most %d", ErrTooManyPending, pending, l.MaxPendingStructs)
	}
	if n := len(x.list) + len(x.newcomers); l.MaxClients > 0 && n > l.MaxClients && len(x.newcomers) > 0 {
		slices.Sort(x.newcomers)
		if n = len(x.list) + len(slices.Compact(x.newcomers)); n > l.MaxClients {
			return fmt.Errorf("%w: %d, at most %d", ErrTooManyClients, n, l.MaxClients)
		}
	}
	if l.MaxBytes > 0 && x.size()+sum.end+cutBytes*int(sum.ranges) > l.MaxBytes {
		if n := g.bytes(); n > 0 && x.size()+n > l.MaxBytes {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrDocumentTooLarge, x.size()+n, l.MaxBytes)
		}
	}
	if l.MaxBytes > 0 {
		if err := g.checkHeld(); err != nil {
			return err
		}
	}
	if l.MaxDeleteRanges > 0 && x.totals.ahead+int(sum.ranges) > l.MaxDeleteRanges {
		if n := g.ahead(); n > 0 && x.totals.ahead+n > l.MaxDeleteRanges {
			return fmt.Errorf("%w: %d ahead of their content, at most %d", ErrTooManyDeleteRanges, x.totals.ahead+n, l.MaxDeleteRanges)
		}
	}
	return nil
}

// ranges counts the delete ranges that delete something.
func (g growth) ranges() (n int) {
	x := g.x
	x.eachRange(g.update, g.sum, func(d span) bool {
		if r := x.run(d.client); r == nil || !r.lacks(d.from, d.to) {
			n++
		}
		return true
	})
	return n
}

// bytes estimates how much longer the encoded document would be.
func (g growth) bytes() (n int) {
	x, it := g.x, &g.x.it
	x.eachStruct(g.update, func(client uint64, _, size int) bool {
		if r := x.run(client); it.kind != kindSkip && (r == nil || !r.holds(it.clock, it.end()) || x.restores(r, it.kind, it.clock, it.end())) {
			n += size
		}
		return true
	})
	x.eachRange(g.update, g.sum, func(d span) bool {
		if r := x.run(d.client); r == nil || !r.lacks(d.from, d.to) {
			n += cutBytes
		}
		return true
	})
	return n
}

// ahead counts the delete ranges that reach beyond what is known with the update.
func (g growth) ahead() (n int) {
	x, it := g.x, &g.x.it
	reach := make(map[uint64]uint64)
	x.eachStruct(g.update, func(client uint64, _, _ int) bool {
		reach[client] = it.end()
		return true
	})
	x.eachRange(g.update, g.sum, func(d span) bool {
		r := x.run(d.client)
		if d.to > reach[d.client] && (r == nil || !r.holds(d.from, d.to) && !r.lacks(d.from, d.to)) {
			n++
		}
		return true
	})
	return n
}
