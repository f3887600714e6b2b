// Package wait looks in tests for what no event tells: what other processes and servers
// have done meanwhile.
package wait

import (
	"testing"
	"time"
)

// Patience is how long Until and For look: a machine may be busy for long.
const Patience = 2 * time.Minute

const longestPause = 50 * time.Millisecond // between two looks

// Until looks until something holds. The test ends if it does not within Patience.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Within(t, Patience, what, holds)
}

// Within is Until with a bound of its own, see Clock, and returns how long it took.
func Within(t testing.TB, bound time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	clock := Start()
	for pause := time.Millisecond; !holds(); pause = min(2*pause, longestPause) {
		if clock.Exceeds(bound) || clock.Took() > bound+Patience {
			t.Fatalf("not within %v: %s", bound, what)
		}
		time.Sleep(pause)
	}
	return clock.Took()
}

// For is Until for what says why it does not hold.
func For(t testing.TB, what string, try func() error) {
	t.Helper()
	var err error
	defer func() {
		if t.Failed() && err != nil {
			t.Logf("%s: %v", what, err)
		}
	}()
	Until(t, what, func() bool {
		err = try()
		return err == nil
	})
}
