package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

var acme = authn.Defaults{Tenant: "acme", App: "notes", License: "aws-eu-west-1"}

// secretFile writes a file with a secret.
func secretFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func hs256(t *testing.T, secret []byte, claims map[string]any) string {
	t.Helper()
	return jws(t, map[string]any{"alg": "HS256", "typ": "JWT"}, claims, hmacSign(secret))
}

var hsSecret = []byte("correct horse battery staple, and more")

func TestASecretAndPublicKeysAreNeverTakenForEachOther(t *testing.T) {
	rsaKey := rsaKeys()[0]
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	published := jwk(t, issuerWith(t, rsaKey))
	kid := published["kid"]
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rs256 := rsaSign(rsaKey, crypto.SHA256, false)
	none := func([]byte) []byte { return nil }
	withSecret := newVerifier(t, authn.Config{SecretFile: secretFile(t, hsSecret), Defaults: acme})
	withKeys := newVerifier(t, authn.Config{KeySet: keySet(t, published, jwk(t, issuerWith(t, ecKey)), map[string]any{"kty": "oct", "k": b64(hsSecret), "kid": "s", "alg": "HS256"}), Defaults: acme})
	type header = map[string]any
	for name, c := range map[string]struct {
		v      *authn.Verifier
		header header
		sign   func([]byte) []byte
		want   string
	}{
		"HS256 by the secret":                          {withSecret, header{"alg": "HS256"}, hmacSign(hsSecret), ""},
		"HS256 by the secret, under some name":         {withSecret, header{"alg": "HS256", "kid": "2026-11"}, hmacSign(hsSecret), ""},
		"HS256 by another secret":                      {withSecret, header{"alg": "HS256"}, hmacSign([]byte("another secret of more than 32 bytes")), "signature"},
		"HS256 by nothing":                             {withSecret, header{"alg": "HS256"}, hmacSign(nil), "signature"},
		"HS256 without signature":                      {withSecret, header{"alg": "HS256"}, none, "signature"},
		"HS256 by a public key in PEM":                 {withSecret, header{"alg": "HS256"}, hmacSign(public), "signature"},
		"HS256, its own secret in the header":          {withSecret, header{"alg": "HS256", "jwk": header{"kty": "oct", "k": b64([]byte("x"))}}, hmacSign([]byte("x")), "signature"},
		"HS256, a URL in the header":                   {withSecret, header{"alg": "HS256", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}, hmacSign([]byte("x")), "signature"},
		"HS384 by the secret":                          {withSecret, header{"alg": "HS384"}, hmacSign(hsSecret), "algorithm HS384"},
		"hs256 in small letters":                       {withSecret, header{"alg": "hs256"}, hmacSign(hsSecret), "algorithm"},
		"none, where there is a secret":                {withSecret, header{"alg": "none"}, none, "algorithm none"},
		"RS256, where there is a secret":               {withSecret, header{"alg": "RS256", "kid": kid}, rs256, "algorithm RS256"},
		"ES256, where there is a secret":               {withSecret, header{"alg": "ES256"}, ecSign(ecKey), "algorithm ES256"},
		"RS256 signed by the secret":                   {withSecret, header{"alg": "RS256"}, hmacSign(hsSecret), "algorithm RS256"},
		"RS256 by a public key":                        {withKeys, header{"alg": "RS256", "kid": kid}, rs256, ""},
		"HS256 by a public key in PEM, where it is":    {withKeys, header{"alg": "HS256", "kid": kid}, hmacSign(public), "algorithm HS256"},
		"HS256 by a public key in DER, where it is":    {withKeys, header{"alg": "HS256", "kid": kid}, hmacSign(der), "algorithm HS256"},
		"HS256 by a secret that the set publishes":     {withKeys, header{"alg": "HS256", "kid": "s"}, hmacSign(hsSecret), "algorithm HS256"},
		"RS256 under the name of a published secret":   {withKeys, header{"alg": "RS256", "kid": "s"}, hmacSign(hsSecret), "signature"},
		"an algorithm whose name is long and unheard":  {withKeys, header{"alg": strings.Repeat("x", 200)}, none, "algorithm"},
		"an algorithm whose name would be two reasons": {withKeys, header{"alg": "RS256\nexpired"}, none, "algorithm"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.v.Verify(t.Context(), jws(t, c.header, goodClaims(), c.sign))
			if got := reason(t, err); got != c.want {
				t.Errorf("got %q, want %q: %v", got, c.want, err)
			}
		})
	}
}

func TestASecretSpeaksForOneTenant(t *testing.T) {
	v := newVerifier(t, authn.Config{SecretFile: secretFile(t, hsSecret), Defaults: acme})
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"its own":                      {nil, ""},
		"none named":                   {map[string]any{"tenantId": nil}, ""},
		"another":                      {map[string]any{"tenantId": "evil"}, "claims: tenantId"},
		"another, by the other name":   {map[string]any{"tenantId": nil, "tenantid": "evil"}, "claims: tenantId"},
		"another of its apps":          {map[string]any{"appId": "drafts"}, ""},
		"no claim but when it ends":    {map[string]any{"tenantId": nil, "appId": nil, "dbCode": nil}, ""},
		"an app that is none":          {map[string]any{"appId": ""}, "claims: appId"},
		"an app of the wrong type":     {map[string]any{"appId": 7}, "claims: appId"},
		"a region of the wrong type":   {map[string]any{"dbCode": 7}, "claims: dbCode"},
		"it never ends":                {map[string]any{"exp": nil}, "claims: exp"},
		"audience is demanded as ever": {map[string]any{"aud": nil}, "audience"},
		"and scope":                    {map[string]any{"scope": nil}, "scope"},
	} {
		_, err := v.Verify(t.Context(), hs256(t, hsSecret, with(c.change)))
		if got := reason(t, err); got != c.want {
			t.Errorf("%s: got %q, want %q: %v", name, got, c.want, err)
		}
	}
	lax := newVerifier(t, authn.Config{SecretFile: secretFile(t, append(hsSecret, '\n')), Defaults: acme, Audience: authn.Any, Scope: authn.Any})
	grant, err := lax.Verify(t.Context(), hs256(t, hsSecret, map[string]any{"sub": "ada", "exp": goodClaims()["exp"]}))
	if err != nil {
		t.Fatal(err)
	}
	if app := (docid.AppID{License: "aws-eu-west-1", Tenant: "acme", App: "notes"}); grant.AppID() != app {
		t.Errorf("granted for %v", grant.AppID())
	}
}

func TestDefaultsStandInForClaimsOfPublicKeys(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS(), Defaults: authn.Defaults{App: "notes"}})
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"no app":            {map[string]any{"appId": nil}, ""},
		"no tenant":         {map[string]any{"tenantId": nil}, "claims: tenantId"},
		"another tenant":    {map[string]any{"tenantId": "other"}, ""},
		"no license":        {map[string]any{"dbCode": nil}, "claims: dbCode"},
		"an app of its own": {map[string]any{"appId": "other"}, ""},
	} {
		if got := verdict(t, v, issuer, with(c.change)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	file := secretFile(t, hsSecret)
	for name, c := range map[string]authn.Config{
		"nothing":                     {},
		"a secret without its tenant": {SecretFile: file},
		"a secret and a key set":      {SecretFile: file, Defaults: acme, KeySet: newIssuer(t).JWKS()},
		"a secret and a URL":          {SecretFile: file, Defaults: acme, JWKSURL: "https://issuer.example/jwks"},
		"a secret and a key file":     {SecretFile: file, Defaults: acme, KeyFile: file},
		"any audience of public keys": {KeySet: newIssuer(t).JWKS(), Audience: authn.Any},
		"any scope of public keys":    {KeySet: newIssuer(t).JWKS(), Scope: authn.Any},
	} {
		if v, err := authn.New(c); err == nil {
			v.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestASecretIsReadAgainAndNothingElseIsTakenForOne(t *testing.T) {
	file := secretFile(t, hsSecret)
	v := newVerifier(t, authn.Config{SecretFile: file, Defaults: acme})
	next := []byte("another one of at least thirty-two bytes")
	token := hs256(t, next, goodClaims())
	if _, err := v.Verify(t.Context(), token); reason(t, err) != "signature" {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nothing":      nil,
		"a short one":  []byte("31 bytes are less than a secret"),
		"a short line": []byte("31 bytes are less than a secret\r\n"),
		"a key in PEM": []byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"),
		"a key of SSH": []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk operator"),
		"a key set":    newIssuer(t).JWKS(),
		"a disk":       make([]byte, 1<<20),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := v.Reload(); err == nil || len(content) > 0 && strings.Contains(err.Error(), string(content)) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := v.Verify(t.Context(), hs256(t, hsSecret, goodClaims())); err != nil {
			t.Errorf("%s: the secret from before is forgotten: %v", name, err)
		}
	}
	if err := os.WriteFile(file, next, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), hs256(t, hsSecret, goodClaims())); reason(t, err) != "signature" {
		t.Errorf("the secret from before: %v", err)
	}
}

func TestTiptapsClaimsGrantDocuments(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	list := func(names ...string) []string { return append([]string{}, names...) }
	for name, c := range map[string]struct {
		claims map[string]any
		doc    string
		want   string // "": none
	}{
		"neither claim":                        {nil, "a", "readwrite"},
		"allowed":                              {map[string]any{"allowedDocumentNames": list("a")}, "a", "readwrite"},
		"not allowed":                          {map[string]any{"allowedDocumentNames": list("a")}, "b", ""},
		"none allowed":                         {map[string]any{"allowedDocumentNames": list()}, "a", ""},
		"allowed by a star":                    {map[string]any{"allowedDocumentNames": list("user/7/*")}, "user/7/x", "readwrite"},
		"allowed by a star inside a segment":   {map[string]any{"allowedDocumentNames": list("team-*")}, "team-a/b", "readwrite"},
		"all allowed":                          {map[string]any{"allowedDocumentNames": list("*")}, "a", "readwrite"},
		"a star that does not end it":          {map[string]any{"allowedDocumentNames": list("a*c")}, "abc", ""},
		"read-only":                            {map[string]any{"allowedDocumentNames": list(), "readonlyDocumentNames": list("a")}, "a", "readonly"},
		"read-only, and else all":              {map[string]any{"readonlyDocumentNames": list("a")}, "b", "readwrite"},
		"read-only, where all is allowed":      {map[string]any{"readonlyDocumentNames": list("a")}, "a", "readonly"},
		"in both: the stricter":                {map[string]any{"allowedDocumentNames": list("a"), "readonlyDocumentNames": list("a")}, "a", "readonly"},
		"in both: the more exact":              {map[string]any{"allowedDocumentNames": list("a"), "readonlyDocumentNames": list("*")}, "a", "readwrite"},
		"who may comment reads":                {map[string]any{"allowedDocumentNames": list(), "commentDocumentNames": list("a")}, "a", "readonly"},
		"a name that no document can have":     {map[string]any{"allowedDocumentNames": list("a?b", "a")}, "a", "readwrite"},
		"only names that no document can have": {map[string]any{"allowedDocumentNames": list("a?b")}, "a", ""},
		"with access":                          {map[string]any{"allowedDocumentNames": list("a"), "access": "readonly"}, "a", "readonly"},
	} {
		token, err := issuer.Sign(with(c.claims))
		if err != nil {
			t.Fatal(err)
		}
		grant, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if access, ok := grant.Access(c.doc); ok {
			got = access.String()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for claim, value := range map[string]any{"allowedDocumentNames": 7, "readonlyDocumentNames": []any{"a", 7}, "commentDocumentNames": map[string]any{}} {
		if got := verdict(t, v, issuer, with(map[string]any{claim: value})); got != "claims: "+claim {
			t.Errorf("%s: %q", claim, got)
		}
	}
	null := goodClaims()
	null["allowedDocumentNames"] = nil
	if got := verdict(t, v, issuer, null); got != "claims: allowedDocumentNames" {
		t.Errorf("null: %q", got)
	}
	if got := verdict(t, v, issuer, with(map[string]any{"documents": list("a"), "allowedDocumentNames": list("b")})); got != "claims: allowedDocumentNames" {
		t.Errorf("both ways: %q", got)
	}
}
