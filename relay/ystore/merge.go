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
	for i, u := range updates {
		if _, err := s.Apply(u); err != nil {
			return nil, fmt.Errorf("merge update %d of %d: %w", i+1, len(updates), err)
		}
	}
	return s.Encode(), nil
}
