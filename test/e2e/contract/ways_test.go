package contract

import "net/http"

// way is one of the three ways in which a client hands its token over, in all its
// spellings.
type way struct {
	name      string
	spellings []spelling
}

// spelling is how a handshake carries a token.
type spelling func(token, document string) (target string, header http.Header)

func subprotocol(word string) spelling {
	return func(token, document string) (string, http.Header) {
		return "/" + document, http.Header{"Sec-Websocket-Protocol": {word + ", " + token}}
	}
}

func authorization(token, document string) (string, http.Header) {
	return "/" + document, http.Header{"Authorization": {"Bearer " + token}}
}

func query(name string) spelling {
	return func(token, document string) (string, http.Header) {
		return "/" + document + "?" + name + "=" + token, http.Header{}
	}
}

func serverURL(token, document string) (string, http.Header) {
	return "/?token=" + token + "/" + document, http.Header{}
}

var ways = []way{
	{"subprotocol", []spelling{subprotocol("access_token"), subprotocol("Bearer")}},
	{"header", []spelling{authorization}},
	{"query", []spelling{query("token"), query("access_token"), serverURL}},
}
