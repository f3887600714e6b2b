// Package pause waits for a time that a context may cut short.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, or until ctx ends, and reports whether ctx goes on.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// Between waits for a random time from least to most, so that many who wait do not go on
// at once. See For.
func Between(ctx context.Context, least, most time.Duration) bool {
	d := least
	if most > least {
		d += rand.N(most - least)
	}
	return For(ctx, d)
}
