package storage

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the memory of the bodies that are loaded and saved at the same
// time on a node. Who does not fit waits, and nobody is overtaken: a large body
// gets its turn.
type Budget struct {
	limit   int64
	free    *semaphore.Weighted
	waiting atomic.Int64
}

// NewBudget returns a budget of so many bytes, at least one.
func NewBudget(bytes int64) *Budget {
	bytes = max(bytes, 1)
	return &Budget{limit: bytes, free: semaphore.NewWeighted(bytes)}
}

// Take waits for the memory of a body and returns the function that gives it
// back, which must be called once. A body larger than the whole budget takes all
// of it, and so is alone.
func (b *Budget) Take(ctx context.Context, bytes int64) (release func(), err error) {
	bytes = min(max(bytes, 0), b.limit)
	if !b.free.TryAcquire(bytes) {
		b.waiting.Add(1)
		err := b.free.Acquire(ctx, bytes)
		b.waiting.Add(-1)
		if err != nil {
			return nil, err
		}
	}
	return func() { b.free.Release(bytes) }, nil
}

// Waiting is how many wait.
func (b *Budget) Waiting() int { return int(b.waiting.Load()) }
