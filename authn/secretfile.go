package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Bounds of a secret in bytes: RFC 7518 demands the lower for HS256.
const (
	minSecretBytes = 32
	maxSecretBytes = 4096
)

var errPublicKey = errors.New("holds a key of another kind: expected a secret that nobody else knows")

// readSecretFile reads the secret of HS256 tokens: the file's bytes, but for a line break
// at the end, which editors add. What looks like a key of another kind is refused: a public
// one would let everybody sign.
func readSecretFile(name string) ([]byte, []*publicKey, error) {
	content, err := readBounded(name, maxSecretBytes)
	if err != nil {
		return nil, nil, err
	}
	s := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	switch {
	case bytes.Contains(s, []byte("-----BEGIN")) || bytes.HasPrefix(s, []byte("ssh-")) || json.Valid(s) && bytes.HasPrefix(bytes.TrimSpace(s), []byte("{")):
		return nil, nil, errPublicKey
	case len(s) < minSecretBytes:
		return nil, nil, fmt.Errorf("holds a secret of %d bytes: expected at least %d", len(s), minSecretBytes)
	}
	return content, []*publicKey{{alg: "HS256", raw: secret(s)}}, nil
}
