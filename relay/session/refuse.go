package session

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// MessageError says which message of a client ended its session, and why.
type MessageError struct {
	Kind wire.Kind
	Err  error
}

func (e *MessageError) Error() string { return e.Kind.String() + ": " + e.Err.Error() }

// Unwrap returns why.
func (e *MessageError) Unwrap() error { return e.Err }

var (
	errText       = errors.New("text frame")
	errRate       = errors.New("operations per minute")
	errHocuspocus = errors.New("first frame of a Hocuspocus provider")
)

// refusal is the end of a session for what its client has sent, and will send again when
// it comes back. y-websocket does so within 100 ms of a close, each time with all that it
// has; so the session stops taking anything at once, and is closed some seconds later.
type refusal struct {
	set atomic.Bool // nothing is taken any more

	mu    sync.Mutex
	why   error
	timer *time.Timer // nil: it is not kept, or was closed
	ended bool
}

// maxRefused bounds the sessions of a node that are kept so; more are closed at once.
const maxRefused = 4096

func (r *refusal) pending() bool { return r.set.Load() }

// end is called when the session has ended, by whomever, and returns why it was to.
func (r *refusal) end(c *Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
		c.refused.Add(-1)
	}
	return r.why
}

// refuse ends the session for what its client has sent, after a while unless the client
// stays away by itself. It does not block.
func (s *Session) refuse(code int, reason string, why error) {
	r := &s.refusal
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || !r.set.CompareAndSwap(false, true) {
		return
	}
	r.why = why
	stays := closecode.Permanent(code) && !errors.Is(why, errHocuspocus) // whose providers know no codes
	if stays || s.cfg.RefuseAfter < 0 {
		s.Close(code, reason)
		return
	}
	if s.cfg.refused.Add(1) > maxRefused {
		s.cfg.refused.Add(-1)
		s.Close(code, reason)
		return
	}
	r.timer = time.AfterFunc(s.cfg.RefuseAfter, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer != nil {
			r.timer = nil
			s.cfg.refused.Add(-1)
			s.Close(code, reason)
		}
	})
}

// Fail ends the session for what something that it sent has caused, soon. It does not
// block.
func (s *Session) Fail(err error) {
	code, reason := s.explain(err)
	s.refuse(code, reason, err)
}

// caps are the operator's bounds on what an update may cost.
var caps = []error{ystore.ErrTooManyClients, ystore.ErrTooManyDeleteRanges, ystore.ErrTooManyPending}

// overLimit is an error that says itself which limit it is about.
type overLimit interface {
	error
	Reason() string
}

// explain turns what a message caused into a close code and its reason.
func (s *Session) explain(err error) (code int, reason string) {
	var over overLimit
	var update *ystore.UpdateError
	switch {
	case errors.Is(err, errHocuspocus):
		return closecode.Unsupported, "Unsupported protocol: Hocuspocus. Connect with y-websocket or @wsnode/client: docs/clients.md"
	case errors.As(err, &update):
		return explainUpdate(update)
	case errors.As(err, &over):
		return closecode.TooLarge, over.Reason()
	case errors.Is(err, ystore.ErrDocumentTooLarge):
		return closecode.TooLarge, fmt.Sprintf("Document too large: limit %d bytes", s.cfg.MaxDocumentBytes)
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, awareness.ErrMalformed):
		return closecode.Malformed, "Malformed frame"
	}
	for _, limit := range caps {
		if errors.Is(err, limit) {
			return closecode.TooLarge, "Update over the limit: " + limit.Error()
		}
	}
	return closecode.Malformed, "Malformed Yjs update"
}

// explainUpdate says what is wrong with an update, and where; the reason is cut if a close
// frame does not hold it.
func explainUpdate(e *ystore.UpdateError) (code int, reason string) {
	if !e.Partial() {
		return closecode.Malformed, fmt.Sprintf("Malformed Yjs update: %s at byte %d", e.What, e.Offset)
	}
	what := map[ystore.Cause]string{
		ystore.WeakLink: "a weak link of Yrs", ystore.Move: "a move of Yrs", ystore.TooDeep: "a value nested too deeply",
	}[e.Cause]
	return closecode.Unsupported, fmt.Sprintf("Unsupported content: %s. Remove it and reload; what did not need it was saved", what)
}
