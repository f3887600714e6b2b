package authn

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Issuer mints tokens with one key. It is what "wsnode dev" and "wsctl token
// mint" use, and tests; production tokens come from the operator's own issuer.
// It is safe for concurrent use.
type Issuer struct {
	key  *signingKey
	name string
}

// NewIssuer makes an issuer that signs with the key: RSA, P-256, P-384, P-521 or
// Ed25519. A nil key stands for a fresh P-256 key. name goes into iss, if it is
// not empty.
func NewIssuer(key crypto.Signer, name string) (*Issuer, error) {
	if key == nil {
		fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		key = fresh
	}
	signing, err := newSigningKey(key)
	if err != nil {
		return nil, err
	}
	return &Issuer{key: signing, name: name}, nil
}

// ParseSigningKey reads a private key from PEM (PKCS #8, PKCS #1 or SEC 1), in which other
// blocks may stand before it, or from a JSON Web Key. Its errors hold nothing of the key.
func ParseSigningKey(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		key, err := parseJWK(data)
		if err != nil {
			return nil, errors.New("signing key: expected PEM or a JSON Web Key with its private part")
		}
		return key, nil
	}
	for !strings.HasSuffix(block.Type, "PRIVATE KEY") { // openssl writes a curve's parameters first
		next, behind := pem.Decode(rest)
		if next == nil {
			return nil, fmt.Errorf("signing key: a PEM block %q is no private key", block.Type)
		}
		block, rest = next, behind
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing key: a PEM block %q is no private key that can be read", block.Type)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key: a %T cannot sign", key)
	}
	return signer, nil
}

// JWKS is the document that publishes the issuer's public key. It must not be
// changed.
func (i *Issuer) JWKS() []byte { return i.key.jwks }

// Subject says what a token is to allow.
type Subject struct {
	Tenant     docid.Tenant
	App        docid.App
	License    docid.LicenseRegion
	RegionCode string
	Limits     Limits
	Domains    []string      // allowed domains
	ReadOnly   bool          //
	Documents  []string      // names and prefixes; nil: all
	TTL        time.Duration // zero: one hour; negative: expired by that much
	Audience   string        // of aud and scope; empty: DefaultAudience
	Extra      map[string]any
}

// Mint signs a token for the subject. Extra claims are set last: they can add
// and replace, and nil removes.
func (i *Issuer) Mint(s Subject) (string, error) {
	now := time.Now()
	s.TTL = cmp.Or(s.TTL, time.Hour)
	s.Audience = cmp.Or(s.Audience, DefaultAudience)
	claims := map[string]any{
		"aud": s.Audience, "scope": s.Audience,
		"iat": min(now.Unix(), now.Add(s.TTL).Unix()), "exp": now.Add(s.TTL).Unix(),
		"tenantId": s.Tenant, "appId": s.App, "dbCode": s.License,
	}
	if i.name != "" {
		claims["iss"] = i.name
	}
	if s.RegionCode != "" {
		claims["regionCode"] = s.RegionCode
	}
	if s.Limits != (Limits{}) {
		claims["limits"] = s.Limits.Set()
	}
	if len(s.Domains) > 0 {
		claims["allowedDomains"] = s.Domains
	}
	if s.ReadOnly {
		claims["access"] = ReadOnly.String()
	}
	if s.Documents != nil {
		claims["documents"] = s.Documents
	}
	maps.Copy(claims, s.Extra)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return i.Sign(claims)
}

// Sign signs any claims. Tests use it for those that Mint would not make.
func (i *Issuer) Sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return i.key.sign(payload)
}
