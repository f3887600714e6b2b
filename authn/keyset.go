package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// keySet is the keys of an issuer as they were published at one time. It is
// immutable, and stays the same pointer while the published document does not
// change: who holds a pointer can tell whether the keys have changed.
type keySet struct {
	document []byte
	keys     []*publicKey
}

// maxCandidates bounds the signature checks that one token can cause.
const maxCandidates = 8

// candidates are the keys that may have signed the token.
func (s *keySet) candidates(t *unverified) []*publicKey {
	var found []*publicKey
	for _, key := range s.keys {
		if (t.keyID == "" || key.id == t.keyID) && key.fits(t.alg) && len(found) < maxCandidates {
			found = append(found, key)
		}
	}
	return found
}

// timing says how long keys are good for.
type timing struct {
	refresh      time.Duration // keys of this age are not used while the issuer answers
	stale        time.Duration // keys of this age are not used at all
	spacing      time.Duration // between fetches for unknown keys, in the long run
	longestPause time.Duration // the longest pause after failures
}

// burst is how many fetches for unknown keys may follow each other at once. When
// they are spent the keys are at most `spacing` old, so that a key unknown then
// is simply unknown.
const burst = 5

// source is one issuer's key set and what is known about fetching it.
//
// A set in use is fetched again in the background from half its refresh interval
// on, so that handshakes do not wait for it. An unused one costs nothing; the
// next handshake waits for its fetch.
type source struct {
	address string
	fetch   func(context.Context) ([]byte, []*publicKey, error)
	timing  timing
	work    *workers
	report  func(address string, err error, cached bool)

	mu       sync.Mutex
	set      *keySet   // nil: never fetched
	asked    time.Time // when the request was sent that set came by
	next     time.Time // when the background fetch is due
	fetching chan struct{}
	failed   error     // of the last fetch; nil after a good one
	failures int       // in a row
	retry    time.Time // no fetch before
	budget   float64   // fetches for unknown keys that are left
	counted  time.Time // when budget was last brought up to date
	waiting  int       // tokens that wait for the fetch under way
	proven   bool      // a token of it was verified: it is not made up

	maxWaiting int
}

// current returns the keys to judge by, fetching them if need be.
func (s *source) current(ctx context.Context, by Caller) (*keySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.set != nil && now.Sub(s.asked) < s.timing.refresh {
		if !now.Before(s.next) {
			s.startLocked(now)
		}
		return s.set, nil
	}
	started := s.startLocked(now)
	// While an issuer is down its old keys serve at once, as long as they may:
	// handshakes wait only for the first fetch to fail.
	if _, err := s.usableLocked(); started && (err != nil || s.failures == 0) {
		if err := s.waitLocked(ctx, by); err != nil {
			return nil, err
		}
	}
	return s.usableLocked()
}

// usableLocked returns the set if it is not too old, else why there is none.
func (s *source) usableLocked() (*keySet, error) {
	if s.set != nil && time.Since(s.asked) < s.timing.stale {
		return s.set, nil
	}
	switch {
	case s.set == nil && errors.Is(s.failed, errNoKeySet):
		return nil, invalid(Signature, "%v", s.failed)
	case s.failed != nil:
		return nil, fmt.Errorf("%w: fetch keys from %s: %w", ErrUnavailable, withoutSecrets(s.address), s.failed)
	}
	return nil, fmt.Errorf("%w: fetch keys from %s: no answer in time", ErrUnavailable, withoutSecrets(s.address))
}

// newer returns keys that are newer than seen, which lack the key of a token. It
// returns seen itself when the issuer has published nothing else.
func (s *source) newer(ctx context.Context, seen *keySet, by Caller) (*keySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != seen {
		return s.usableLocked()
	}
	now := time.Now()
	if s.fetching == nil && now.Before(s.retry) && s.failed != nil {
		return nil, fmt.Errorf("%w: fetch keys from %s: %w", ErrUnavailable, withoutSecrets(s.address), s.failed)
	}
	if s.fetching == nil && !s.spendLocked(now) {
		return seen, nil
	}
	if s.startLocked(now) {
		if err := s.waitLocked(ctx, by); err != nil {
			return nil, err
		}
	}
	if s.set == seen && s.failed != nil {
		return nil, fmt.Errorf("%w: fetch keys from %s: %w", ErrUnavailable, withoutSecrets(s.address), s.failed)
	}
	return s.usableLocked()
}

// spendLocked takes one fetch from the budget.
func (s *source) spendLocked(now time.Time) bool {
	s.budget = min(burst, s.budget+float64(now.Sub(s.counted))/float64(s.timing.spacing))
	s.counted = now
	if s.budget < 1 {
		return false
	}
	s.budget--
	return true
}

// startLocked starts a fetch unless one is under way or it is too early after a
// failure. It reports whether one is under way.
func (s *source) startLocked(now time.Time) bool {
	if s.fetching != nil {
		return true
	}
	if now.Before(s.retry) {
		return false
	}
	done := make(chan struct{})
	started := s.work.run(func(ctx context.Context) {
		document, keys, err := s.fetch(ctx)
		s.mu.Lock()
		s.fetchedLocked(now, document, keys, err)
		s.fetching = nil
		s.mu.Unlock()
		close(done)
	})
	if started {
		s.fetching = done
	}
	return started
}

// fetchedLocked takes in the outcome of the fetch that began at asked.
func (s *source) fetchedLocked(asked time.Time, document []byte, keys []*publicKey, err error) {
	now := time.Now()
	if err != nil {
		s.failures++
		pause := min(time.Second<<min(s.failures-1, 16), s.timing.longestPause)
		s.retry = now.Add(pause/2 + rand.N(pause/2+1))
		if s.failures == 1 {
			s.report(s.address, err, s.set != nil)
		}
		s.failed = err
		return
	}
	if s.set != nil && asked.Before(s.asked) {
		return // overtaken: what is known is newer
	}
	if s.failures > 0 && s.set != nil {
		s.report(s.address, nil, true)
	}
	s.failures, s.failed, s.retry = 0, nil, time.Time{}
	s.asked = asked
	// Pods that started together should not ask together for ever.
	s.next = asked.Add(s.timing.refresh/2 + rand.N(s.timing.refresh/4+1))
	if s.set == nil || !bytes.Equal(s.set.document, document) {
		s.set = &keySet{document: document, keys: keys}
	}
}

// reload fetches now, whatever was fetched when.
func (s *source) reload(ctx context.Context) error {
	asked := time.Now()
	document, keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetchedLocked(asked, document, keys, err)
	return err
}

// workers runs fetches, which outlive the handshake that caused them: others may
// wait for the same one.
type workers struct {
	ctx  context.Context
	stop context.CancelFunc

	waiting waiters

	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func newWorkers() *workers {
	ctx, stop := context.WithCancel(context.Background())
	return &workers{ctx: ctx, stop: stop}
}

// run reports false when the workers are closed.
func (w *workers) run(f func(context.Context)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.group.Go(func() { f(w.ctx) })
	return true
}

// close ends all fetches and waits for them.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	w.group.Wait()
}
