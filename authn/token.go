package authn

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// unverified is a token that was taken apart; nothing in it is to be believed
// until its signature is checked.
type unverified struct {
	alg       algorithm
	keyID     string // empty when the token names no key
	claims    claims
	signed    []byte // what the signature covers: exactly the bytes that were parsed
	signature []byte
}

// header is what a JWS header says that matters here. jku, x5u, x5c and jwk are
// not among it: a token does not choose its own keys.
type header struct {
	alg, keyID string
}

// base64url is strict: one token has one spelling.
var base64url = base64.RawURLEncoding.Strict()

// parseToken takes a compact JWS apart. It must have one of the algorithms accepted.
func parseToken(token string, accepted map[string]algorithm) (*unverified, error) {
	head, rest, ok1 := strings.Cut(token, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	// encoding/base64 skips line breaks.
	if !ok1 || !ok2 || strings.Contains(signature, ".") || strings.ContainsAny(token, "\r\n") {
		return nil, invalid(Malformed, "expected three parts")
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	alg, known := accepted[h.alg]
	if !known {
		return nil, wrongAlgorithm(h.alg, accepted)
	}
	if alg.kind == hmacKey {
		h.keyID = "" // there is one secret, whatever the token calls it
	}
	t := &unverified{alg: alg, keyID: h.keyID, signed: []byte(token[:len(head)+1+len(body)])}
	if t.signature, err = base64url.DecodeString(signature); err != nil {
		return nil, invalid(Malformed, "signature is not base64url")
	}
	raw, err := base64url.DecodeString(body)
	if err != nil {
		return nil, invalid(Malformed, "claims are not base64url")
	}
	if t.claims, err = parseObject(raw); err != nil {
		return nil, invalid(Malformed, "claims: %v", err)
	}
	return t, nil
}

func parseHeader(encoded string) (header, error) {
	raw, err := base64url.DecodeString(encoded)
	if err != nil {
		return header{}, invalid(Malformed, "header is not base64url")
	}
	members, err := parseObject(raw)
	if err != nil {
		return header{}, invalid(Malformed, "header: %v", err)
	}
	// crit lists extensions that must be understood (RFC 7515, 4.1.11), such as
	// an unencoded payload. None is.
	if _, critical := members["crit"]; critical {
		return header{}, invalid(Malformed, "header: crit is not supported")
	}
	var h header
	if h.alg, _, err = members.text("alg"); err != nil {
		return header{}, invalid(Malformed, "header: alg is not a string")
	}
	if h.keyID, _, err = members.text("kid"); err != nil {
		return header{}, invalid(Malformed, "header: kid is not a string")
	}
	return h, nil
}

// maxDepth bounds the nesting of a token's JSON.
const maxDepth = 16

var (
	errNotObject = errors.New("not a JSON object")
	errDuplicate = errors.New("duplicate member")
	errDepth     = errors.New("nested too deeply")
)

// parseObject reads one JSON object, whose values alias data. It refuses what
// different parsers read differently: duplicate members at any depth, and invalid
// UTF-8. Names are matched exactly.
func parseObject(data []byte) (claims, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '{' {
		return nil, errNotObject
	}
	members := make(claims, 12)
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, objectError(err)
		}
		name, from := token.String(), dec.InputOffset()
		for more := true; more; more = dec.StackDepth() > 1 {
			if _, err := dec.ReadToken(); err != nil {
				return nil, objectError(err)
			}
			if dec.StackDepth() > maxDepth {
				return nil, errDepth
			}
		}
		members[name] = bytes.TrimLeft(data[from:dec.InputOffset()], ": \t\r\n")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, objectError(err)
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, errNotObject
	}
	return members, nil
}

// objectError keeps what the token holds out of the error.
func objectError(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errDuplicate
	}
	return errNotObject
}
