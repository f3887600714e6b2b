package authn

import (
	"errors"
	"fmt"
)

// ErrMissing is returned by Verify for an empty token. Clients see close code
// 4001 or HTTP 401.
var ErrMissing = errors.New("missing token")

// ErrUnavailable is returned by Verify when the issuer's keys are not known and
// cannot be fetched now: it is unreachable, answers nonsense, or the budget for
// fetching is spent. The token may be good; the client should come again (close
// code 1013, HTTP 503). Errors that wrap it tell the operator why.
var ErrUnavailable = errors.New("issuer unavailable")

// ErrTooManyIssuers comes with ErrUnavailable when the client may not cause the
// fetch that its token needs: see Caller.
var ErrTooManyIssuers = errors.New("this client named too many issuers that are not known")

// A Reason says in a word or two why a token is refused. Clients read it: it is
// part of the contract.
type Reason string

// The reasons for refusing a token. A claim that is missing, contradictory or
// not of its type is "claims: " and its name, see InvalidError.Reason.
const (
	Expired     Reason = "expired"
	NotYetValid Reason = "not yet valid"
	Malformed   Reason = "malformed" // not a JWS of JSON objects, duplicate members
	TooLong     Reason = "too long"  // over Config.MaxTokenBytes
	Algorithm   Reason = "algorithm" // not accepted; its name follows if it is a known one
	Signature   Reason = "signature" // unknown key, wrong signature
	Issued      Reason = "issuer"    // iss is not the configured one
	Audience    Reason = "audience"
	Scope       Reason = "scope"
)

// InvalidError says that a token was judged and refused: close code 4002 or HTTP
// 401. It never holds any part of the token but, in Detail, an algorithm name or
// a key id, quoted and cut.
type InvalidError struct {
	Reason Reason // for the client
	Detail string // for the operator; may be empty
}

// Error begins "invalid token: " and the reason.
func (e *InvalidError) Error() string {
	if e.Detail == "" {
		return "invalid token: " + string(e.Reason)
	}
	return "invalid token: " + string(e.Reason) + ": " + e.Detail
}

// Message is the text for the client, as close reason and in HTTP answers, such
// as "Invalid token: expired". It has at most 60 bytes.
func (e *InvalidError) Message() string { return "Invalid token: " + string(e.Reason) }

func invalid(reason Reason, format string, args ...any) *InvalidError {
	return &InvalidError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// badClaim refuses a token because of one claim.
func badClaim(name, format string, args ...any) *InvalidError {
	return invalid(Reason("claims: "+name), format, args...)
}

// quoted prepares a word of an untrusted header for a log.
func quoted(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
