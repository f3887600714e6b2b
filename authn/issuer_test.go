package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

func TestMintedTokenIsGranted(t *testing.T) {
	issuer, err := authn.NewIssuer(nil, "https://issuer.example/acme")
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS(), Issuer: "https://issuer.example/{tenantId}"})
	s := subject
	s.RegionCode = "eu-central-1"
	s.Limits = authn.Limits{MaxConnections: 3, OpsPerMinute: 100}
	s.Domains = []string{"app.example"}
	s.ReadOnly = true
	s.Documents = []string{"a", "notes/*"}
	g, err := v.Verify(t.Context(), mint(t, issuer, s))
	if err != nil {
		t.Fatal(err)
	}
	if g.AppID() != (docid.AppID{License: "aws-eu-west-1", Tenant: "acme", App: "notes"}) || g.RegionCode != s.RegionCode || g.Limits != s.Limits {
		t.Errorf("got %+v", g)
	}
	if want := (docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "x"}); g.Document("x") != want {
		t.Errorf("got %v", g.Document("x"))
	}
	if access, ok := g.Access("notes/x"); !ok || access != authn.ReadOnly || !g.ReadOnly {
		t.Error("access is not read-only")
	}
	if _, ok := g.Access("b"); ok || g.AllowsOrigin("https://other.example") {
		t.Error("grants too much")
	}
	if left := time.Until(g.Expires); left < 59*time.Minute || left > time.Hour {
		t.Errorf("expires in %v", left)
	}
}

func TestExtraClaimsAddReplaceAndRemove(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	s := subject
	s.TTL = -time.Hour
	if got := outcome(t, v, mint(t, issuer, s)); got != "expired" {
		t.Errorf("TTL below zero: %q", got)
	}
	s.TTL = 0
	s.Extra = map[string]any{"appId": nil}
	if got := outcome(t, v, mint(t, issuer, s)); got != "claims: appId" {
		t.Errorf("removed: %q", got)
	}
	s.Extra = map[string]any{"aud": "other"}
	if got := outcome(t, v, mint(t, issuer, s)); got != "audience" {
		t.Errorf("replaced: %q", got)
	}
}

func TestPublishedKeySetHoldsNoPrivatePart(t *testing.T) {
	for _, key := range []crypto.Signer{nil, rsaKeys()[0]} {
		issuer, err := authn.NewIssuer(key, "")
		if err != nil {
			t.Fatal(err)
		}
		published := jwk(t, issuer)
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, there := published[private]; there {
				t.Errorf("%s is published", private)
			}
		}
		if published["use"] != "sig" || published["kid"] == "" {
			t.Errorf("published %v", published)
		}
	}
}

func TestSigningKeysAreReadFromPEMAndJWK(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	files := map[string][]byte{"SEC 1": block("EC PRIVATE KEY", sec1, err)}
	files["SEC 1 behind its curve"] = slices.Concat(block("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}, nil), files["SEC 1"]) // openssl ecparam -genkey
	files["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKeys()[0]), nil)
	for name, key := range map[string]any{"EC": ec, "Ed25519": ed, "RSA": rsaKeys()[0]} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		files["PKCS #8, "+name] = block("PRIVATE KEY", der, err)
	}
	jwk, err := json.Marshal(map[string]string{
		"kty": "OKP", "crv": "Ed25519", "x": b64(ed.Public().(ed25519.PublicKey)), "d": b64(ed.Seed()),
	})
	if err != nil {
		t.Fatal(err)
	}
	files["JWK"] = jwk
	for name, file := range files {
		key, err := authn.ParseSigningKey(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		issuer := issuerWith(t, key)
		v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
		if got := outcome(t, v, mint(t, issuer, subject)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, bad := range []string{"", "secret words", `{"kty":"oct","k":"c2VjcmV0"}`, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "-----BEGIN SECRET-----\nc2VjcmV0\n-----END SECRET-----\n"} {
		_, err := authn.ParseSigningKey([]byte(bad))
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c2Vj") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOnlyOneFileKnowsTheJOSELibrary(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if knows := strings.Contains(string(source), `"github.com/lestrrat-go/`); knows != (file == "jose.go") && file != "issuer_test.go" {
			t.Errorf("%s imports the library: %v", file, knows)
		}
	}
}
