package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// This file is the only one that knows the JOSE library. The rest of the package
// sees keys, and signatures over bytes.

// algorithm is a signature algorithm that tokens may use.
type algorithm struct {
	name  string
	kind  keyKind
	curve elliptic.Curve // of an ECDSA key
}

type keyKind int

const (
	rsaKey keyKind = iota
	ecdsaKey
	ed25519Key
	hmacKey
)

// algorithms has all that are accepted with public keys, by the name in a token's
// header. HMAC and "none" are not among them: a verifier that accepts them takes a
// public key for a secret, or anything for a signature.
var algorithms = map[string]algorithm{
	"RS256": {"RS256", rsaKey, nil},
	"RS384": {"RS384", rsaKey, nil},
	"RS512": {"RS512", rsaKey, nil},
	"PS256": {"PS256", rsaKey, nil},
	"PS384": {"PS384", rsaKey, nil},
	"PS512": {"PS512", rsaKey, nil},
	"ES256": {"ES256", ecdsaKey, elliptic.P256()},
	"ES384": {"ES384", ecdsaKey, elliptic.P384()},
	"ES512": {"ES512", ecdsaKey, elliptic.P521()},
	"EdDSA": {"EdDSA", ed25519Key, nil},
}

// secretAlgorithms has those that are accepted with a secret.
var secretAlgorithms = map[string]algorithm{"HS256": {"HS256", hmacKey, nil}}

// otherAlgorithms are names that tokens may have and that are never accepted.
var otherAlgorithms = []string{"none", "HS384", "HS512", "ES256K"}

// wrongAlgorithm refuses a token for its algorithm, which the client is told by its name
// if it has one: who signs tokens has to know.
func wrongAlgorithm(name string, accepted map[string]algorithm) error {
	_, public := algorithms[name]
	_, secret := secretAlgorithms[name]
	expected := strings.Join(slices.Sorted(maps.Keys(accepted)), ", ")
	if public || secret || slices.Contains(otherAlgorithms, name) {
		return invalid(Algorithm+Reason(" "+name), "is not accepted, expected %s", expected)
	}
	return invalid(Algorithm, "%s is not accepted, expected %s", quoted(name), expected)
}

// Bounds of RSA keys in bits: RFC 7518 demands the lower, the upper keeps a
// verification under a millisecond.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// publicKey is one usable key of a key set. It is immutable.
type publicKey struct {
	id  string           // kid; may be empty
	alg string           // the only algorithm it is for; empty: any that fits
	raw crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey; of a secret file, secret
}

// secret is the key of HS256 tokens. No key set has one: what is published is none.
type secret []byte

// fits reports whether the key can have made a signature of the algorithm.
func (k *publicKey) fits(a algorithm) bool {
	if k.alg != "" && k.alg != a.name {
		return false
	}
	switch raw := k.raw.(type) {
	case *rsa.PublicKey:
		return a.kind == rsaKey
	case *ecdsa.PublicKey:
		return a.kind == ecdsaKey && raw.Curve == a.curve
	case ed25519.PublicKey:
		return a.kind == ed25519Key
	case secret:
		return a.kind == hmacKey
	}
	return false
}

// verify checks a signature over the very bytes that were received.
func (k *publicKey) verify(a algorithm, signed, signature []byte) error {
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(a.name))
	if err != nil {
		return err
	}
	if s, ok := k.raw.(secret); ok {
		return verifier.Verify(signed, signature, []byte(s))
	}
	return verifier.Verify(signed, signature, k.raw)
}

// maxKeys bounds a key set. Issuers have a handful.
const maxKeys = 100

var errNotKeySet = errors.New("not a JSON Web Key Set")

// parseKeySet reads a JWKS document. Keys that cannot verify tokens (of other
// types, for encryption, too short) are left out, as RFC 7517 asks; a set
// without any is valid: its issuer trusts no token.
func parseKeySet(data []byte) ([]*publicKey, error) {
	var set struct {
		Keys *[]map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		return nil, errNotKeySet
	}
	if len(*set.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: more than %d keys", errNotKeySet, maxKeys)
	}
	var keys []*publicKey
	for _, members := range *set.Keys {
		if key, err := parseKey(members); err == nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// publicMembers are what the library gets to see of a key: no private parts,
// which an issuer may have published by mistake, and no certificates.
var publicMembers = []string{"kty", "crv", "x", "y", "n", "e", "kid", "use", "key_ops", "alg"}

func parseKey(members map[string]json.RawMessage) (key *publicKey, err error) {
	// The bytes come from the network and the parser is not ours: a panic in it
	// must cost a key, not the node.
	defer func() {
		if p := recover(); p != nil {
			key, err = nil, fmt.Errorf("parse key: %v", p)
		}
	}()
	public := map[string]json.RawMessage{}
	for _, name := range publicMembers {
		if raw, ok := members[name]; ok {
			public[name] = raw
		}
	}
	data, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(data)
	if err != nil {
		return nil, err
	}
	if use := parsed.KeyUsage(); use != "" && use != "sig" {
		return nil, errors.New("not for signatures")
	}
	if ops := parsed.KeyOps(); len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) && !slices.Contains(ops, jwk.KeyOpSign) {
		return nil, errors.New("not for verifying")
	}
	key = &publicKey{id: parsed.KeyID(), alg: parsed.Algorithm().String()}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, err
	}
	key.raw = raw
	return key, checkKey(raw)
}

// checkKey refuses keys that are of no use or too weak.
func checkKey(raw any) error {
	switch key := raw.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("RSA key of %d bits", bits)
		}
		return nil
	case *ecdsa.PublicKey:
		_, err := key.ECDH() // checks the curve and that the point is on it
		return err
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return errors.New("Ed25519 key of wrong length")
		}
		return nil
	}
	return fmt.Errorf("key of type %T", raw)
}

// signingKey signs tokens.
type signingKey struct {
	alg    string
	signer crypto.Signer
	id     string
	jwks   []byte // the document that publishes it
}

// newSigningKey prepares a key of one of the accepted kinds, with its RFC 7638
// thumbprint as id.
func newSigningKey(signer crypto.Signer) (*signingKey, error) {
	if err := checkKey(signer.Public()); err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	k := &signingKey{signer: signer}
	for _, name := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		if (&publicKey{raw: signer.Public()}).fits(algorithms[name]) {
			k.alg = name
			break
		}
	}
	if k.alg == "" {
		return nil, fmt.Errorf("signing key: no algorithm for a %T", signer.Public())
	}
	public, err := jwk.FromRaw(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	k.id = base64.RawURLEncoding.EncodeToString(thumbprint)
	set := jwk.NewSet()
	err = errors.Join(
		public.Set(jwk.KeyIDKey, k.id),
		public.Set(jwk.AlgorithmKey, k.alg),
		public.Set(jwk.KeyUsageKey, "sig"),
		set.AddKey(public))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	k.jwks, err = json.Marshal(set)
	return k, err
}

// sign makes a compact JWS.
func (k *signingKey) sign(payload []byte) (string, error) {
	head := jws.NewHeaders()
	if err := errors.Join(head.Set(jws.KeyIDKey, k.id), head.Set(jws.TypeKey, "JWT")); err != nil {
		return "", err
	}
	alg := jwa.SignatureAlgorithm(k.alg)
	token, err := jws.Sign(payload, jws.WithKey(alg, k.signer, jws.WithProtectedHeaders(head)))
	return string(token), err
}

// parseJWK reads a private key written as a JSON Web Key.
func parseJWK(data []byte) (crypto.Signer, error) {
	parsed, err := jwk.ParseKey(data)
	if err != nil {
		return nil, err
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, err
	}
	signer, ok := raw.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", raw)
	}
	return signer, nil
}
