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

// Caller is on whose behalf a token is verified. The zero value has no say.
type Caller struct {
	// MayFetch is asked before the keys of an issuer that is not known are fetched. One
	// client could otherwise spend, on issuers that it made up, what all of them share.
	// It must not block. Nil: it may.
	MayFetch func() bool
	// Waiting is called when there are keys to wait for. It must call wait, once, unless
	// it returns an error, which becomes that of the verification. The caller can let
	// others go first meanwhile, and bound how many wait. Nil: it just waits.
	Waiting func(wait func()) error
}

// waitLocked waits for the fetch under way, without the lock.
func (s *source) waitLocked(ctx context.Context, by Caller) error {
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
	if by.Waiting != nil {
		err = by.Waiting(wait)
	} else {
		wait()
	}
	s.mu.Lock()
	s.waiting--
	count.Add(-1)
	return err
}
