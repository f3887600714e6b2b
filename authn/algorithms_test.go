package authn_test

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
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

// Keys that are slow to make.
var rsaKeys = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

func issuerWith(t *testing.T, key crypto.Signer) *authn.Issuer {
	t.Helper()
	issuer, err := authn.NewIssuer(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// jws makes a token of any header and payload, signed by sign.
func jws(t *testing.T, header map[string]any, payload any, sign func(input []byte) []byte) string {
	t.Helper()
	head, err1 := json.Marshal(header)
	body, err2 := json.Marshal(payload)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	input := b64(head) + "." + b64(body)
	return input + "." + b64(sign([]byte(input)))
}

// rsaSign makes RS256, RS512 or PS256 signatures.
func rsaSign(key *rsa.PrivateKey, hash crypto.Hash, pss bool) func([]byte) []byte {
	return func(input []byte) []byte {
		h := hash.New()
		h.Write(input)
		var signature []byte
		if pss {
			signature, _ = rsa.SignPSS(rand.Reader, key, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, _ = rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
		}
		return signature
	}
}

func hmacSign(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		m := hmac.New(sha256.New, secret)
		m.Write(input)
		return m.Sum(nil)
	}
}

func ecSign(key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature
	}
}

// jwk is one public key as a map.
func jwk(t *testing.T, i *authn.Issuer) map[string]any {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(i.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys[0]
}

// keySet publishes keys.
func keySet(t *testing.T, keys ...map[string]any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKeysOfAllKindsSign(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{
		"RS256": rsaKeys()[0], "ES256": p256, "ES384": p384, "ES512": p521, "EdDSA": ed,
	} {
		t.Run(name, func(t *testing.T) {
			issuer := issuerWith(t, key)
			if alg := jwk(t, issuer)["alg"]; alg != name {
				t.Errorf("published as %v", alg)
			}
			v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
			if got := verdict(t, v, issuer, goodClaims()); got != "" {
				t.Errorf("refused: %s", got)
			}
			other := newVerifier(t, authn.Config{KeySet: newIssuer(t).JWKS()})
			if got := verdict(t, other, issuer, goodClaims()); got != "signature" {
				t.Errorf("another issuer's keys: %q", got)
			}
		})
	}
}

func TestAlgorithmMustFitTheKey(t *testing.T) {
	rsaKey := rsaKeys()[0]
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	published := jwk(t, issuerWith(t, rsaKey))
	kid := published["kid"]
	anyAlg := map[string]any{}
	for k, v := range published {
		if k != "alg" {
			anyAlg[k] = v
		}
	}
	ec := jwk(t, issuerWith(t, ecKey))
	none := func([]byte) []byte { return nil }
	rs256 := rsaSign(rsaKey, crypto.SHA256, false)

	for name, c := range map[string]struct {
		keys   map[string]any
		header map[string]any
		sign   func([]byte) []byte
		want   string
	}{
		"RS256":                        {published, map[string]any{"alg": "RS256", "kid": kid}, rs256, ""},
		"RS256 without kid":            {published, map[string]any{"alg": "RS256"}, rs256, ""},
		"RS512, key for any":           {anyAlg, map[string]any{"alg": "RS512", "kid": kid}, rsaSign(rsaKey, crypto.SHA512, false), ""},
		"PS256, key for any":           {anyAlg, map[string]any{"alg": "PS256", "kid": kid}, rsaSign(rsaKey, crypto.SHA256, true), ""},
		"PS256, key for RS256":         {published, map[string]any{"alg": "PS256", "kid": kid}, rsaSign(rsaKey, crypto.SHA256, true), "signature"},
		"PS256 signed as RS256":        {anyAlg, map[string]any{"alg": "PS256", "kid": kid}, rs256, "signature"},
		"none":                         {published, map[string]any{"alg": "none", "kid": kid}, none, "algorithm none"},
		"NONE":                         {published, map[string]any{"alg": "NONE"}, none, "algorithm"},
		"empty":                        {published, map[string]any{"alg": ""}, none, "algorithm"},
		"missing":                      {published, map[string]any{"kid": kid}, rs256, "algorithm"},
		"RS256 without signature":      {published, map[string]any{"alg": "RS256", "kid": kid}, none, "signature"},
		"HS256 with the key set":       {published, map[string]any{"alg": "HS256", "kid": kid}, hmacSign(keySet(t, published)), "algorithm HS256"},
		"HS256 with the modulus":       {published, map[string]any{"alg": "HS256", "kid": kid}, hmacSign(rsaKey.N.Bytes()), "algorithm HS256"},
		"HS256, published secret":      {map[string]any{"kty": "oct", "k": b64([]byte("secret")), "kid": "s", "alg": "HS256"}, map[string]any{"alg": "HS256", "kid": "s"}, hmacSign([]byte("secret")), "algorithm HS256"},
		"rs256 in small letters":       {published, map[string]any{"alg": "rs256", "kid": kid}, rs256, "algorithm"},
		"ES256 with an RSA key's kid":  {published, map[string]any{"alg": "ES256", "kid": kid}, ecSign(ecKey), "signature"},
		"ES256":                        {ec, map[string]any{"alg": "ES256", "kid": ec["kid"]}, ecSign(ecKey), ""},
		"ES384 named, P-256 key":       {ec, map[string]any{"alg": "ES384", "kid": ec["kid"]}, ecSign(ecKey), "signature"},
		"ES256 of zeros":               {ec, map[string]any{"alg": "ES256", "kid": ec["kid"]}, func([]byte) []byte { return make([]byte, 64) }, "signature"},
		"ES256K":                       {ec, map[string]any{"alg": "ES256K", "kid": ec["kid"]}, ecSign(ecKey), "algorithm ES256K"},
		"another kid":                  {published, map[string]any{"alg": "RS256", "kid": "other"}, rs256, "signature"},
		"another key, the same kid":    {published, map[string]any{"alg": "RS256", "kid": kid}, rsaSign(rsaKeys()[1], crypto.SHA256, false), "signature"},
		"its own key in the header":    {ec, map[string]any{"alg": "RS256", "jwk": published}, rs256, "signature"},
		"its own URL in the header":    {ec, map[string]any{"alg": "RS256", "jku": "http://127.0.0.1:1/"}, rs256, "signature"},
		"certificates in the header":   {published, map[string]any{"alg": "RS256", "kid": kid, "x5u": "http://127.0.0.1:1/", "x5c": []string{"x"}}, rs256, ""},
		"critical extension":           {published, map[string]any{"alg": "RS256", "kid": kid, "crit": []string{"b64"}, "b64": false}, rs256, "malformed"},
		"alg is a list":                {published, map[string]any{"alg": []string{"RS256"}}, rs256, "malformed"},
		"kid is a number":              {published, map[string]any{"alg": "RS256", "kid": 1}, rs256, "malformed"},
		"key for encryption":           {merge(published, "use", "enc"), map[string]any{"alg": "RS256", "kid": kid}, rs256, "signature"},
		"key for other operations":     {merge(published, "key_ops", []string{"encrypt"}), map[string]any{"alg": "RS256", "kid": kid}, rs256, "signature"},
		"key that says what it is for": {merge(published, "key_ops", []string{"verify"}), map[string]any{"alg": "RS256", "kid": kid}, rs256, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, authn.Config{KeySet: keySet(t, c.keys)})
			_, err := v.Verify(t.Context(), jws(t, c.header, goodClaims(), c.sign))
			if got := reason(t, err); got != c.want {
				t.Errorf("got %q, want %q: %v", got, c.want, err)
			}
		})
	}
}

func merge(m map[string]any, key string, value any) map[string]any {
	merged := map[string]any{key: value}
	for k, v := range m {
		if k != key {
			merged[k] = v
		}
	}
	return merged
}

func TestUnusableKeysOfASetAreLeftOut(t *testing.T) {
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	issuer := newIssuer(t)
	good := jwk(t, issuer)
	weakJWK := map[string]any{"kty": "RSA", "kid": "weak", "n": b64(weak.N.Bytes()), "e": "AQAB"}
	set := keySet(t,
		map[string]any{"kty": "unheard-of", "kid": "x"},
		map[string]any{"kty": "RSA"},
		map[string]any{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))},
		map[string]any{},
		weakJWK,
		merge(good, "d", "private part that should not be there"),
	)
	v := newVerifier(t, authn.Config{KeySet: set})
	if got := verdict(t, v, issuer, goodClaims()); got != "" {
		t.Errorf("good key: %s", got)
	}
	_, err := v.Verify(t.Context(), jws(t, map[string]any{"alg": "RS256", "kid": "weak"}, goodClaims(), rsaSign(weak, crypto.SHA256, false)))
	if got := reason(t, err); got != "signature" {
		t.Errorf("1024-bit key: %q", got)
	}
}

func TestWhatIsNoTokenIsMalformed(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	good := mint(t, issuer, subject)
	parts := strings.Split(good, ".")
	raw := func(header, body string) string {
		return b64([]byte(header)) + "." + b64([]byte(body)) + ".AAAA"
	}
	es := `{"alg":"ES256"}`
	for name, token := range map[string]string{
		"a word":                     "x",
		"dots":                       "..",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 good + ".x",
		"spaces":                     " " + good,
		"padding":                    parts[0] + "=." + parts[1] + "." + parts[2],
		"standard base64":            "+/+/." + parts[1] + "." + parts[2],
		"trailing bits":              good[:len(good)-1] + flip(good[len(good)-1]),
		"line break":                 parts[0] + ".\n" + parts[1] + "." + parts[2],
		"header is no object":        raw(`[]`, `{}`),
		"header is null":             raw(`null`, `{}`),
		"claims are no object":       raw(es, `"x"`),
		"claims are two":             raw(es, `{}{}`),
		"claims are cut":             raw(es, `{"a":1`),
		"claims are not UTF-8":       raw(es, "{\"a\":\"\xff\"}"),
		"duplicate claim":            raw(es, `{"tenantId":"a","tenantId":"a"}`),
		"duplicate claim, escaped":   raw(es, `{"tenantId":"a","\u0074enantId":"b"}`),
		"duplicate deep down":        raw(es, `{"x":[{"limits":{"a":1,"a":2}}]}`),
		"duplicate alg":              raw(`{"alg":"none","alg":"ES256"}`, `{}`),
		"nested deeply":              raw(es, `{"a":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`),
		"JWS in JSON":                `{"payload":"e30","signatures":[]}`,
		"encrypted (five parts)":     "a.b.c.d.e",
		"a token with a Unicode dot": strings.Replace(good, ".", "。", 1),
	} {
		_, err := v.Verify(t.Context(), token)
		if got := reason(t, err); got != "malformed" {
			t.Errorf("%s: %q", name, got)
		}
	}
	_, err := v.Verify(t.Context(), raw(es, `{"a":"`+strings.Repeat("x", 9000)+`"}`))
	if got := reason(t, err); got != "too long" {
		t.Errorf("longer than allowed: %q", got)
	}
	if _, err := v.Verify(t.Context(), ""); !errors.Is(err, authn.ErrMissing) {
		t.Errorf("no token: %v", err)
	}
}

// flip changes the low bits of a base64 character that ends a 64-byte signature
// and so stand for nothing.
func flip(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, c)
	return string(alphabet[i^1])
}

func TestErrorsHoldNothingOfTheToken(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	secret := "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"
	for _, token := range []string{
		secret, secret + "." + secret + "." + secret, strings.Repeat(secret, 500),
		jws(t, map[string]any{"alg": "ES256"}, map[string]any{"tenantId": secret + secret, "exp": secret}, func([]byte) []byte { return nil }),
		jws(t, map[string]any{"alg": "ES256"}, with(map[string]any{"iss": secret, "appId": secret + secret}), func([]byte) []byte { return []byte(secret) }),
	} {
		_, err := v.Verify(t.Context(), token)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), b64([]byte(secret))[:10]) {
			t.Errorf("error: %v", err)
		}
	}
}
