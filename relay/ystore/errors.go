package ystore

import (
	"errors"
	"fmt"
)

// Cause is the kind of an UpdateError.
type Cause uint8

const (
	// Malformed bytes are no update: every Yjs client throws on them.
	Malformed Cause = iota
	// Harmful updates are well-formed, and clients that took them would throw
	// later, or wait for ever.
	Harmful
	// WeakLink is a type of Yrs (a link or a quotation) that Yjs does not have:
	// every Yjs client throws on it.
	WeakLink
	// Move is a kind of struct of Yrs that Yjs does not have.
	Move
	// TooDeep is a value, or a type, inside of too many others. The error is also
	// ErrTooDeep.
	TooDeep
)

func (c Cause) String() string {
	switch c {
	case Harmful:
		return "harmful"
	case WeakLink:
		return "weak link"
	case Move:
		return "move"
	case TooDeep:
		return "too deep"
	}
	return "malformed"
}

// partial reports whether the structs of that cause can be left out of an update.
func (c Cause) partial() bool { return c == WeakLink || c == Move || c == TooDeep }

// UpdateError says why bytes are refused as an update or state vector whatever the
// document holds: the same bytes will be refused again. Sound says what can be
// taken of an update whose Cause is WeakLink, Move or TooDeep.
type UpdateError struct {
	Offset int    // of the byte at which it was noticed
	What   string // what is wrong there, in a few words
	Cause  Cause
}

func (e *UpdateError) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", e.Cause, e.Offset, e.What)
}

// Partial reports whether Sound may find something to be taken of the update.
func (e *UpdateError) Partial() bool { return e.Cause.partial() }

// Is reports a TooDeep one as ErrTooDeep.
func (e *UpdateError) Is(target error) bool { return target == ErrTooDeep && e.Cause == TooDeep }

// The caps of Limits, as conditions. The errors that Apply returns wrap them
// and say by how much.
var (
	// ErrDocumentTooLarge: the document would exceed Limits.MaxBytes.
	ErrDocumentTooLarge = errors.New("document too large")
	// ErrTooManyClients: the document would exceed Limits.MaxClients.
	ErrTooManyClients = errors.New("too many client ids")
	// ErrTooManyDeleteRanges: the update exceeds Limits.MaxDeleteRanges, or the
	// document would hold more ranges than that ahead of their content.
	ErrTooManyDeleteRanges = errors.New("too many delete ranges")
	// ErrTooManyPending: the document would exceed Limits.MaxPendingStructs.
	ErrTooManyPending = errors.New("too many pending structs")
	// ErrTooDeep: a value is nested deeper than Limits.MaxNesting.
	ErrTooDeep = errors.New("value nested too deeply")
)
