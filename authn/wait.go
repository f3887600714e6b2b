package authn

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Bounds of how many tokens wait for keys: each keeps its client's connection, and a
// slow issuer keeps all that name it for as long as a fetch may take.
const (
	maxWaiting    = 2048 // for issuers of which a token was verified, and as many for others
	maxWaitingFor = 256  // for one of the issuers of a template
)

// waiters counts the tokens that wait for keys: those whose issuer is real apart from
// those whose issuer anybody may have made up.
type waiters struct{ real, others atomic.Int64 }

type waitingKey struct{}

// WithWaiting has Verify tell when it waits for an issuer's keys: it calls around, which
// must call wait, once, unless it returns an error, which Verify then returns. The
// caller can let others go first meanwhile, and bound how many wait.
func WithWaiting(ctx context.Context, around func(wait func()) error) context.Context {
	return context.WithValue(ctx, waitingKey{}, around)
}

// waitLocked waits for the fetch under way, without the lock.
func (s *source) waitLocked(ctx context.Context) error {
	count := &s.work.waiting.others
	if s.proven {
		count = &s.work.waiting.real
	}
	if s.waiting >= s.maxWaiting || count.Load() >= maxWaiting {
		return fmt.Errorf("%w: too many wait for the keys of %s", ErrUnavailable, withoutSecrets(s.address))
	}
	s.waiting++
	count.Add(1)
	done := s.fetching
	s.mu.Unlock()
	wait := func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	var err error
	if around, ok := ctx.Value(waitingKey{}).(func(func()) error); ok {
		err = around(wait)
	} else {
		wait()
	}
	s.mu.Lock()
	s.waiting--
	count.Add(-1)
	return err
}
