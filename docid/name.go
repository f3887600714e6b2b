package docid

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength is the longest document name, in code points.
const MaxNameLength = 255

// ErrName is returned for a string that cannot name a document. Clients see
// close code 4007 or HTTP 400.
var ErrName = errors.New("invalid document name: expected 1 to 255 characters of valid UTF-8 without control characters, '?', '#', '%', '\\' and without empty, '.' or '..' segments")

// Parse checks a name and folds the form x/x into x, repeatedly: y-websocket's
// provider appends the room to a URL that already contains it, so both name one
// document.
func Parse(name string) (string, error) {
	if len(name) > 2*(MaxNameLength*utf8.UTFMax+1) {
		return "", ErrName
	}
	for {
		half := len(name) / 2
		if len(name)%2 == 0 || name[half] != '/' || name[:half] != name[half+1:] {
			break
		}
		name = name[:half]
	}
	if !valid(name) {
		return "", ErrName
	}
	return name, nil
}

func valid(name string) bool {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > MaxNameLength {
		return false
	}
	for _, r := range name {
		if unicode.IsControl(r) || strings.ContainsRune(`?#%\`, r) {
			return false
		}
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// Target is what a request target names.
type Target struct {
	Name  string     // the document, folded and checked; empty if it is invalid
	Query url.Values // the query parameters; a token may be among them
}

// ParseTarget reads the raw request target of a WebSocket handshake in all the
// forms that clients send: "/doc", "/doc/doc", and "/?token=JWT/doc", which is
// what y-websocket makes of the server URL "wss://host?token=JWT". In the last
// form the room name runs to the next '&', and '+' is a plus. A query that is not
// one is the rest of a name with a '?' in it, sent unencoded: it is refused, for
// the path before it is another document. The query is returned even when the
// name is invalid, so that the token is judged first.
func ParseTarget(target string) (Target, error) {
	path, query, _ := strings.Cut(target, "?")
	values, room, isQuery := parseQuery(query)
	path = strings.TrimPrefix(path, "/")
	raw := path
	if path == "" {
		raw = room
	}
	t := Target{Query: values}
	if !isQuery {
		return t, ErrName
	}
	name, err := url.PathUnescape(raw)
	if err != nil {
		return t, ErrName
	}
	t.Name, err = Parse(name)
	return t, err
}

// ParseQuery reads a raw query as the HTTP endpoints take it. Unlike
// ParseTarget it gives slashes no meaning.
func ParseQuery(query string) url.Values {
	values, _ := url.ParseQuery(query)
	return values
}

// parseQuery splits a token parameter at its first slash: a JWT contains none,
// so what follows is the room name that the provider put behind it. isQuery is
// false for what no client library makes of parameters: a pair without '=', or
// another '?'; what could be read of it is returned all the same.
func parseQuery(query string) (values url.Values, room string, isQuery bool) {
	values, isQuery = url.Values{}, true
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if rest, token, again := strings.Cut(pair, "?"); again {
			isQuery = false
			pair = rest
			if strings.Contains(token, "=") {
				pair = token // the real parameters stand behind the last '?'
			}
		}
		key, value, isPair := strings.Cut(pair, "=")
		isQuery = isQuery && isPair
		if key == "token" || key == "access_token" {
			if token, name, found := strings.Cut(value, "/"); found {
				value, room = token, name
			}
		}
		key, err := url.QueryUnescape(key)
		if err != nil {
			continue
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			continue
		}
		values.Add(key, value)
	}
	return values, room, isQuery
}

// URLPath spells a name as the path of a URL, without the leading slash. Every
// byte outside the unreserved set is percent-encoded, slashes included between
// segments being kept.
func URLPath(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if isWord(c) || c == '.' || c == '~' || c == '/' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
	return b.String()
}

const upperHex = "0123456789ABCDEF"
