// Package issuer signs tokens for tests, right and wrong ones, with the standard
// library alone, so that nothing of the product judges itself.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Issuer is a token issuer with one key per algorithm, whose public keys are
// served over HTTP.
type Issuer struct {
	JWKS string // URL of the key set

	tb      testing.TB
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	jwksDoc []byte
}

// Claims are a token's claims.
type Claims map[string]any

// New makes keys and serves them until the test ends.
func New(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		tb.Fatal(err)
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	var edPublic ed25519.PublicKey
	if edPublic, i.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		tb.Fatal(err)
	}
	point, err := i.ec.PublicKey.Bytes() // 4, x, y
	if err != nil {
		tb.Fatal(err)
	}
	i.jwksDoc = marshal(map[string]any{"keys": []any{
		map[string]any{"kid": "RS256", "kty": "RSA", "use": "sig", "alg": "RS256", "n": encode(i.rsa.N.Bytes()), "e": encode(big.NewInt(int64(i.rsa.E)).Bytes())},
		map[string]any{"kid": "ES256", "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
		map[string]any{"kid": "EdDSA", "kty": "OKP", "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "x": encode(edPublic)},
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(i.jwksDoc)
	}))
	tb.Cleanup(server.Close)
	i.JWKS = server.URL
	return i
}

// Valid returns the claims of a good token; overrides replace or, when nil,
// remove claims.
func Valid(overrides Claims) Claims {
	now := time.Now()
	claims := Claims{
		"aud": "WireSocket.API", "scope": "WireSocket.API",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"tenantId": "acme", "appId": "notes", "dbCode": "aws-eu-west-1",
	}
	for name, value := range overrides {
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
	}
	return claims
}

// Token signs Valid(overrides) with ES256.
func (i *Issuer) Token(overrides Claims) string {
	i.tb.Helper()
	return i.Sign("ES256", Valid(overrides))
}

// Sign signs claims. RS256, ES256 and EdDSA use the published keys. "none" signs
// nothing, and "HS256" uses the published key set's RSA modulus as the secret:
// both are attacks.
func (i *Issuer) Sign(algorithm string, claims Claims) string {
	i.tb.Helper()
	return i.SignPayload(algorithm, marshal(claims))
}

// SignPayload is Sign with claims that are spelled already, well or badly.
func (i *Issuer) SignPayload(algorithm string, payload []byte) string {
	i.tb.Helper()
	kid := algorithm
	if algorithm == "HS256" || algorithm == "none" {
		kid = "RS256"
	}
	signed := encode(marshal(map[string]any{"alg": algorithm, "typ": "JWT", "kid": kid})) + "." + encode(payload)
	return signed + "." + encode(i.signature(algorithm, []byte(signed)))
}

// HS256 signs claims with a secret of one's own.
func HS256(secret []byte, claims Claims) string {
	signed := encode(marshal(map[string]any{"alg": "HS256", "typ": "JWT"})) + "." + encode(marshal(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

func (i *Issuer) signature(algorithm string, signed []byte) (signature []byte) {
	i.tb.Helper()
	digest := sha256.Sum256(signed)
	var err error
	switch algorithm {
	case "RS256":
		signature, err = rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, digest[:])
	case "ES256":
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, i.ec, digest[:]); err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case "EdDSA":
		signature = ed25519.Sign(i.ed, signed)
	case "HS256":
		mac := hmac.New(sha256.New, i.rsa.N.Bytes())
		mac.Write(signed)
		signature = mac.Sum(nil)
	case "none":
	default:
		i.tb.Fatalf("algorithm %q is unknown", algorithm)
	}
	if err != nil {
		i.tb.Fatal(err)
	}
	return signature
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// marshal encodes what cannot fail to encode: maps of strings and numbers.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
