// Package exit holds wsctl's exit codes, and the errors that carry one.
package exit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/kvpin"
)

// Exit codes, for scripts.
const (
	Failed      = 1 // what was asked for failed
	Usage       = 2 // a wrong flag or argument
	NotFound    = 3 // no such document, pin, session or node
	Unavailable = 4 // NATS, a registry or a node does not answer
	Declined    = 5 // nothing was changed: not confirmed, or not without --force
	Unhealthy   = 6 // a check found something wrong
)

// coded is an error with an exit code of its own.
type coded struct {
	code int
	error
}

func (e coded) Unwrap() error { return e.error }

// As gives an error an exit code.
func As(code int, err error) error { return coded{code, err} }

// With makes an error that has an exit code.
func With(code int, format string, args ...any) error {
	return coded{code, fmt.Errorf(format, args...)}
}

// WrongFlag is the error of a flag's value.
func WrongFlag(flag, format string, args ...any) error {
	return With(Usage, "--%s: %s", flag, fmt.Sprintf(format, args...))
}

// Code is what the process exits with after an error. Errors of As and With carry their
// code; of others, those that say that somebody does not answer are known.
func Code(err error) int {
	var own coded
	switch {
	case errors.As(err, &own):
		return own.code
	case IsUnavailable(err):
		return Unavailable
	}
	return Failed
}

// IsUnavailable reports whether an error says that somebody does not answer.
func IsUnavailable(err error) bool {
	for _, silent := range []error{
		kvpin.ErrUnavailable, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrNoServers, nats.ErrConnectionClosed,
		context.DeadlineExceeded, syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, silent) {
			return true
		}
	}
	return false
}

// Text is the error's text without repeated lines: nodes and registries are often on
// the same NATS, and if it is lost, both say so.
func Text(err error) string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
