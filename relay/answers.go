package relay

import (
	"errors"
	"net/http"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/limits"
	"github.com/wsnode/wsnode/relay/session"
)

// Close codes of the contract. Those from 4000 tell the client what to do.
const (
	closeRestart  = 1012
	closeAgain    = 1013
	closeNoToken  = 4001
	closeToken    = 4002
	closeForbid   = 4003
	closeConns    = 4004
	closeDocs     = 4005
	closeName     = 4007
	closeUsers    = 4008
	closeRedirect = 4009
)

// Conditions that only the connect path knows.
var (
	errOrigin   = errors.New("origin not allowed by the token")
	errLicense  = errors.New("license region not served here")
	errDocument = errors.New("document not granted by the token")
	// errOverloaded: the node has as much as it can carry, or a claim too many.
	errOverloaded = errors.New("the node is overloaded")
	// errMoving: the document has left this region; where to is being found out.
	errMoving = errors.New("document moves to another region")
)

// redirectError says where the document lives.
type redirectError struct{ url, name string }

func (e *redirectError) Error() string { return "document lives at " + e.url }

// reason is the close reason. When the URL with the document's name is too long
// for a close frame, it goes without: the client appends the name itself.
func (e *redirectError) reason() string {
	full := "REDIRECT:" + documentURL(e.url, e.name)
	if len(full) > session.MaxReason {
		return "REDIRECT:" + e.url
	}
	return full
}

// documentURL is the URL of a document in a region.
func documentURL(region, name string) string { return region + "/" + docid.URLPath(name) }

// redirected is the kind of an answer that is no refusal.
const redirected = "redirect"

// refusal is one answer in the two languages that clients understand.
type refusal struct {
	code   int    // WebSocket close code
	reason string // close reason, and message over HTTP
	status int    // HTTP status
	kind   string // machine-readable error of the JSON answer
}

// answer turns an error of the connect path into what the client is told. What
// it does not know is answered as a passing trouble, and nothing of it leaks.
func answer(err error) refusal {
	var invalid *authn.InvalidError
	var elsewhere *redirectError
	var exceeded *limits.ExceededError
	switch {
	case errors.Is(err, authn.ErrMissing):
		return refusal{closeNoToken, "Missing token", http.StatusUnauthorized, "missing_token"}
	case errors.As(err, &invalid):
		return refusal{closeToken, invalid.Message(), http.StatusUnauthorized, "invalid_token"}
	case errors.Is(err, errOrigin):
		return refusal{closeForbid, "Forbidden: origin", http.StatusForbidden, "forbidden"}
	case errors.Is(err, errLicense):
		return refusal{closeForbid, "Forbidden: license region", http.StatusForbidden, "forbidden"}
	case errors.Is(err, errDocument):
		return refusal{closeForbid, "Forbidden: document", http.StatusForbidden, "forbidden"}
	case errors.Is(err, docid.ErrName):
		return refusal{closeName, "Invalid document name", http.StatusBadRequest, "invalid_document_name"}
	case errors.As(err, &elsewhere):
		return refusal{closeRedirect, elsewhere.reason(), http.StatusMisdirectedRequest, redirected}
	case errors.As(err, &exceeded):
		code := map[limits.Kind]int{limits.Connections: closeConns, limits.Documents: closeDocs, limits.Users: closeUsers}[exceeded.Kind]
		return refusal{code, exceeded.Error(), http.StatusTooManyRequests, "limit_exceeded"}
	case errors.Is(err, errOverloaded):
		return refusal{closeAgain, "Try again later", http.StatusServiceUnavailable, "overloaded"}
	case errors.Is(err, errDraining):
		return refusal{closeRestart, "Service restart", http.StatusServiceUnavailable, "unavailable"}
	}
	return refusal{closeAgain, "Try again later", http.StatusServiceUnavailable, "unavailable"}
}
