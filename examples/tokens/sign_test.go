package tokens

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

func newPEM(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// expectGranted verifies the token as a node does.
func expectGranted(t *testing.T, keySet []byte, token string) {
	t.Helper()
	verifier, err := authn.New(authn.Config{KeySet: keySet})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	grant, err := verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if grant.Tenant != "acme" || grant.App != "notes" || grant.License != "aws-eu-west-1" {
		t.Errorf("%+v", grant)
	}
	for name, expected := range map[string]bool{"todo": true, "other": false} {
		if _, granted := grant.Access(name); granted != expected {
			t.Errorf("%s is granted: %v, expected %v", name, granted, expected)
		}
	}
}

func TestATokenSignedInGoOpensItsDocument(t *testing.T) {
	issuer, err := ReadKey(newPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	token, err := ForDocument(issuer, "ann", "todo")
	if err != nil {
		t.Fatal(err)
	}
	expectGranted(t, issuer.JWKS(), token)
}

// readmeSnippet is the README's code that signs a token in Node.
func readmeSnippet(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```js\n")[1:] {
		if code, _, _ := strings.Cut(block, "```"); strings.Contains(code, "sign.mjs") {
			return code
		}
	}
	t.Fatal("the README signs no token")
	return ""
}

func TestTheTokenOfTheREADMEOpensItsDocument(t *testing.T) {
	dir, key := t.TempDir(), newPEM(t)
	helper, err := os.ReadFile("sign.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"operator.pem": key, "sign.mjs": helper,
		"snippet.mjs": []byte(readmeSnippet(t) + "\nconsole.log(JSON.stringify({ keys: keySet(key), token }))\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", "snippet.mjs")
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var said struct{ Keys, Token string }
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	expectGranted(t, []byte(said.Keys), said.Token)

	// Both helpers name the key alike: one JWKS serves backends in both languages.
	issuer, err := ReadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ForDocument(issuer, "ann", "todo")
	if err != nil {
		t.Fatal(err)
	}
	expectGranted(t, []byte(said.Keys), token)
	expectGranted(t, issuer.JWKS(), said.Token)
}
