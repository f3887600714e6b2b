package ystore

import "fmt"

// Merge joins updates into one that brings what all of them bring, in any order
// and with gaps. The error is an *UpdateError, or wraps ErrTooDeep.
func Merge(updates [][]byte) ([]byte, error) { return merge(New(Limits{}), updates) }

// MergeKeeping is Merge that keeps the content of what some of the updates delete.
func MergeKeeping(updates [][]byte) ([]byte, error) {
	s := New(Limits{})
	s.Keep()
	return merge(s, updates)
}

func merge(s *Store, updates [][]byte) ([]byte, error) {
	if err := s.gather(updates); err != nil {
		return nil, err
	}
	return s.Encode(), nil
}

// gather applies updates to an empty store. Mostly they wait for what is not there: where
// they lie is looked for once, behind the last of them, and not with each that has a place.
func (s *Store) gather(updates [][]byte) error {
	s.types.later = true
	for i, u := range updates {
		if _, err := s.Apply(u); err != nil {
			return fmt.Errorf("merge update %d of %d: %w", i+1, len(updates), err)
		}
	}
	s.types.later = false
	x := s.change()
	defer x.end()
	x.fresh, x.gone, x.doomed, x.deep = x.fresh[:0], x.gone[:0], x.doomed[:0], x.deep[:0]
	x.apart, x.toPart, x.placed = x.apart[:0], 0, true
	x.placeMissing()
	x.bury()
	s.full, s.deletesEnc = nil, nil
	return nil
}
