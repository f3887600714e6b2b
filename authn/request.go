package authn

import (
	"net/http"
	"net/url"
	"strings"
)

// Credentials are what a request carries to identify itself.
type Credentials struct {
	Token       string // empty when there is none
	Subprotocol string // the word to select in the answer; never the token; empty: select none
}

// FromRequest finds the token of a request: in the subprotocols of a WebSocket
// handshake ("access_token, JWT" or "Bearer, JWT"), else in the Authorization
// header, else, if allowed, in the query. The first that is there is used, good
// or not. query comes from docid, which knows how clients bend the request
// target.
func FromRequest(r *http.Request, query url.Values, allowQuery bool) Credentials {
	var c Credentials
	if isUpgrade(r.Header) {
		c = fromSubprotocols(r.Header)
	}
	if c.Token == "" {
		c.Token = fromAuthorization(r.Header)
	}
	if c.Token == "" && allowQuery {
		c.Token = query.Get("token")
		if c.Token == "" {
			c.Token = query.Get("access_token")
		}
	}
	return c
}

func isUpgrade(h http.Header) bool {
	return strings.EqualFold(strings.TrimSpace(h.Get("Upgrade")), "websocket")
}

// fromSubprotocols finds a marker word and takes the next offer as the token.
// The word is selected even when no token follows: a browser that offered
// something and gets nothing would not show the close code.
func fromSubprotocols(h http.Header) Credentials {
	var c Credentials
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for offer := range strings.SplitSeq(line, ",") {
			offer = strings.TrimSpace(offer)
			switch {
			case c.Subprotocol != "":
				c.Token = offer
				return c
			case strings.EqualFold(offer, "access_token"), strings.EqualFold(offer, "Bearer"):
				c.Subprotocol = offer
			}
		}
	}
	return c
}

func fromAuthorization(h http.Header) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(h.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
