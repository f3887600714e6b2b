package relay

import (
	"errors"
	"net/http"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/quota"
)

// Conditions that only the connect path knows.
var (
	errOrigin   = errors.New("origin not allowed by the token")
	errLicense  = errors.New("license region not served here")
	errDocument = errors.New("document not granted by the token")
	// errOverloaded: the node has as much as it can carry, or a claim too many.
	errOverloaded = errors.New("the node is overloaded")
)

// redirectError says where the document lives.
type redirectError struct {
	region    docid.Region
	url, name string
	bound     bool // the app may not be here: the client is not carried
}

func (e *redirectError) Error() string { return "document lives at " + e.url }

// redirects reports whether a client hears where its document is, or may be.
func redirects(err error) bool {
	to := (*redirectError)(nil)
	return errors.As(err, &to)
}

// reason is the close reason. When the URL with the document's name is too long
// for a close frame, it goes without: the client appends the name itself.
func (e *redirectError) reason() string {
	full := "REDIRECT:" + documentURL(e.url, e.name)
	if len(full) > conn.MaxReason {
		return "REDIRECT:" + e.url
	}
	return full
}

// documentURL is the URL of a document in a region.
func documentURL(region, name string) string { return region + "/" + docid.URLPath(name) }

// redirected is the kind of an answer that is no refusal.
var redirected = closecode.Of(closecode.Redirect).Kind

// refusal is one answer in the two languages that clients understand.
type refusal struct {
	code   int    // WebSocket close code
	reason string // close reason, and message over HTTP
	status int    // HTTP status
	kind   string // machine-readable error of the JSON answer
}

func refuse(code int, reason string) refusal {
	e := closecode.Of(code)
	return refusal{code, reason, e.Status, e.Kind}
}

// answer turns an error of the connect path into what the client is told. What
// it does not know is answered as a passing trouble, and nothing of it leaks.
func answer(err error) refusal {
	var invalid *authn.InvalidError
	var elsewhere *redirectError
	var exceeded *quota.ExceededError
	var ended *carry.EndedError
	switch {
	case errors.As(err, &ended) && ended.Final():
		return refuse(ended.Code, ended.Reason)
	case errors.Is(err, authn.ErrMissing):
		return refuse(closecode.NoToken, closecode.ReasonNoToken)
	case errors.As(err, &invalid):
		return refuse(closecode.Token, invalid.Message())
	case errors.Is(err, errOrigin):
		return refuse(closecode.Forbidden, "Forbidden: origin")
	case errors.Is(err, errLicense):
		return refuse(closecode.Forbidden, "Forbidden: license region")
	case errors.Is(err, errDocument):
		return refuse(closecode.Forbidden, "Forbidden: document")
	case errors.Is(err, docid.ErrName):
		return refuse(closecode.Name, closecode.ReasonName)
	case errors.As(err, &elsewhere):
		return refuse(closecode.Redirect, elsewhere.reason())
	case errors.As(err, &exceeded):
		code := map[quota.Kind]int{quota.Connections: closecode.Connections, quota.Documents: closecode.Documents, quota.Users: closecode.Users}[exceeded.Kind]
		return refuse(code, exceeded.Error())
	case errors.Is(err, errOverloaded):
		return refusal{closecode.TryAgain, closecode.ReasonTryAgain, http.StatusServiceUnavailable, "overloaded"}
	case errors.Is(err, live.ErrDeleted):
		return refuse(closecode.Deleted, closecode.ReasonDeleted)
	case errors.Is(err, errDraining), errors.Is(err, live.ErrEnded):
		return refuse(closecode.Restart, closecode.ReasonRestart)
	}
	return refuse(closecode.TryAgain, closecode.ReasonTryAgain)
}
