package session

import (
	"errors"
	"fmt"

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
	errRate       = errors.New("operations per minute")
	errHocuspocus = errors.New("first frame of a Hocuspocus provider")
)

// refuse ends the session for what its client has sent, after a while unless the client
// stays away by itself. It does not block.
func (s *Session) refuse(code int, reason string, why error) {
	if s.via != nil {
		s.via.End(s, code, reason, why)
		return
	}
	stays := closecode.Permanent(code) && !errors.Is(why, errHocuspocus) // whose providers know no codes
	s.conn.Reject(code, reason, why, stays)
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

// passing is an error that is not the client's.
type passing interface {
	error
	Passes() bool
}

// explain turns what a message caused into a close code and its reason.
func (s *Session) explain(err error) (code int, reason string) {
	var over overLimit
	var update *ystore.UpdateError
	var passes passing
	switch {
	case errors.As(err, &passes) && passes.Passes():
		return closecode.TryAgain, closecode.ReasonTryAgain
	case errors.Is(err, errHocuspocus):
		return closecode.Unsupported, "Unsupported protocol: Hocuspocus without a token in its first message: docs/clients.md"
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
