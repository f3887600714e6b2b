package ystore

import (
	"fmt"
	"slices"
)

// checkCaps holds a checked update, and what would be pending with it, against the limits.
func (s *Store) checkCaps(update []byte, sum *summary, pending int) error {
	l := &s.limits
	if l.MaxDeleteRanges > 0 && sum.ranges > uint64(l.MaxDeleteRanges) {
		if n := s.newRanges(update, sum); n > l.MaxDeleteRanges {
			return fmt.Errorf("%w: %d new ones in one update, at most %d", ErrTooManyDeleteRanges, n, l.MaxDeleteRanges)
		}
	}
	if l.MaxPendingStructs > 0 && pending > l.MaxPendingStructs && pending > s.totals.pending {
		return fmt.Errorf("%w: %d, at most %d", ErrTooManyPending, pending, l.MaxPendingStructs)
	}
	if n := len(s.list) + len(s.scratch.newcomers); l.MaxClients > 0 && n > l.MaxClients && len(s.scratch.newcomers) > 0 {
		slices.Sort(s.scratch.newcomers)
		if n = len(s.list) + len(slices.Compact(s.scratch.newcomers)); n > l.MaxClients {
			return fmt.Errorf("%w: %d, at most %d", ErrTooManyClients, n, l.MaxClients)
		}
	}
	if l.MaxBytes > 0 && s.size()+sum.end+cutBytes*int(sum.ranges) > l.MaxBytes {
		if n := s.newBytes(update, sum); n > 0 && s.size()+n > l.MaxBytes {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrDocumentTooLarge, s.size()+n, l.MaxBytes)
		}
	}
	if l.MaxBytes > 0 {
		if err := s.checkHeld(update, sum); err != nil {
			return err
		}
	}
	if l.MaxDeleteRanges > 0 && s.totals.ahead+int(sum.ranges) > l.MaxDeleteRanges {
		if n := s.aheadRanges(update, sum); n > 0 && s.totals.ahead+n > l.MaxDeleteRanges {
			return fmt.Errorf("%w: %d ahead of their content, at most %d", ErrTooManyDeleteRanges, s.totals.ahead+n, l.MaxDeleteRanges)
		}
	}
	return nil
}

// newRanges counts the delete ranges of an update that delete something.
func (s *Store) newRanges(update []byte, sum *summary) (n int) {
	s.eachRange(update, sum, func(d span) bool {
		if r := s.run(d.client); r == nil || !r.lacks(d.from, d.to) {
			n++
		}
		return true
	})
	return n
}

// newBytes estimates how much an update would add to the document.
func (s *Store) newBytes(update []byte, sum *summary) (n int) {
	it := &s.scratch.it
	s.eachStruct(update, func(client uint64, _, size int) bool {
		if r := s.run(client); it.kind != kindSkip && (r == nil || !r.holds(it.clock, it.end()) || s.restores(r, it.kind, it.clock, it.end())) {
			n += size
		}
		return true
	})
	s.eachRange(update, sum, func(d span) bool {
		if r := s.run(d.client); r == nil || !r.lacks(d.from, d.to) {
			n += cutBytes
		}
		return true
	})
	return n
}

// aheadRanges counts the delete ranges of an update that reach beyond what is
// known with it.
func (s *Store) aheadRanges(update []byte, sum *summary) (n int) {
	it := &s.scratch.it
	reach := make(map[uint64]uint64)
	s.eachStruct(update, func(client uint64, _, _ int) bool {
		reach[client] = it.end()
		return true
	})
	s.eachRange(update, sum, func(d span) bool {
		r := s.run(d.client)
		if d.to > reach[d.client] && (r == nil || !r.holds(d.from, d.to) && !r.lacks(d.from, d.to)) {
			n++
		}
		return true
	})
	return n
}
