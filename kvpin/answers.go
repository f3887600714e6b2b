package kvpin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// answers notices when a registry falls silent, so that not every request waits
// for its timeout: a connect makes several, and has two seconds in all. The lease
// keeper goes on asking. The zero value is ready.
type answers struct {
	mu      sync.Mutex
	last    time.Time // when the last request was sent that was answered
	silence time.Time // when the last request was sent that ran out of time
	until   time.Time // until when no other request is tried
}

// silenceLife is how long a registry that did not answer is not asked again.
const silenceLife = time.Second

// heard notes the outcome of a request, and reports whether the registry has just
// fallen silent.
func (a *answers) heard(sent time.Time, err error) (fellSilent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		before := time.Now().Before(a.until)
		if sent.After(a.last) {
			a.silence, a.until = sent, time.Now().Add(silenceLife)
		}
		return !before && time.Now().Before(a.until)
	case errors.Is(err, ErrUnavailable):
		// Refused at once, or given up by the caller: says nothing.
	default:
		if sent.After(a.last) {
			a.last = sent
		}
		if a.last.After(a.silence) {
			a.until = time.Time{}
		}
	}
	return false
}

// silent returns an error while the registry is known to be silent.
func (a *answers) silent() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.until) {
		return fmt.Errorf("%w: it does not answer", ErrUnavailable)
	}
	return nil
}
