package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
)

// unsigned is a token that says who it is for, and that no node takes.
func unsigned(tenant string) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"ES256"}`) + "." + part(`{"tenantId":"`+tenant+`"}`) + "." + part("signature")
}

func TestATokenIsInspectedWhereverItComesFrom(t *testing.T) {
	t.Setenv(token.Variable, unsigned("variable"))
	file := write(t, "token.jwt", []byte(unsigned("file")+"\n"))
	for args, tenant := range map[string]string{
		"":                     "variable",
		"-":                    "input",
		"--token-file -":       "input",
		"--token-file " + file: "file",
		unsigned("argument"):   "argument",
	} {
		var out strings.Builder
		code := run(t.Context(), append([]string{"token", "inspect"}, strings.Fields(args)...), strings.NewReader(unsigned("input")), &out, &out)
		if code != 0 || !strings.Contains(out.String(), tenant) {
			t.Errorf("%q: exit code %d, expected the tenant %s:\n%s", args, code, tenant, out.String())
		}
	}
}

func TestATokenThatATerminalIsToGiveIsAskedFor(t *testing.T) {
	t.Setenv(token.Variable, "")
	terminal, err := os.Open(os.DevNull) // a device, as terminals are; nobody types
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var out strings.Builder
	if code := run(t.Context(), []string{"token", "inspect"}, terminal, &out, &out); code != exit.Usage || !strings.Contains(out.String(), "paste the token") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"token", "inspect"}, strings.NewReader(unsigned("acme")), &out, &out); code != 0 || strings.Contains(out.String(), "paste the token") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func TestWordsAreNotConcealedForAShortToken(t *testing.T) {
	if _, said := at(t, "trace todo --token e --nats-url nats://127.0.0.1:1"); !strings.Contains(said, "connect to NATS at nats://127.0.0.1:1") {
		t.Error(said)
	}
}

func TestWhoChoosesANameThatIsTheSameTwiceIsToldThatItIsOneDocument(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for name, warned := range map[string]bool{"Projects/Projects": true, "Projects": false, "Projects/*": false, "a/b/a/b": true} {
		var out, said strings.Builder
		code := run(t.Context(), []string{"token", "mint", "--key", key, "--document", name}, strings.NewReader(""), &out, &said)
		if code != 0 || strings.Contains(said.String(), "that name once") != warned {
			t.Errorf("%s: exit code %d, %q", name, code, said.String())
		}
	}
}
