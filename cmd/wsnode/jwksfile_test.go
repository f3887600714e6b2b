package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay"
)

func TestTheKeySetOfAFileIsCheckedAtTheStartAndReadAgainOnSIGHUP(t *testing.T) {
	issuer, err := authn.NewIssuer(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Mint(authn.Subject{Tenant: "acme", App: "notes", License: "aws-eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jwks.json")
	settings := func(more serveFlags) (*serveFlags, relay.Options, error) {
		more.keys.jwksFile, more.keys.audience, more.keys.scope, more.grace = file, authn.DefaultAudience, authn.DefaultAudience, time.Second
		c := relay.Options{Config: relay.Config{Log: slog.New(slog.DiscardHandler)}}
		err := more.clients(&c)
		return &more, c, err
	}
	refused := func(more serveFlags, says string) {
		t.Helper()
		_, _, err := settings(more)
		if wrong := (usageError{}); !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "--jwks-file: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, expected %q", err, says)
		}
	}
	refused(serveFlags{}, "no such file")
	refused(serveFlags{keys: keyFlags{jwksURL: "https://issuer.example/jwks"}}, "no --jwks-url")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte(`{"keys":[]}`))
	refused(serveFlags{}, "no key")

	other, err := authn.NewIssuer(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	write(other.JWKS())
	f, c, err := settings(serveFlags{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Config.Verifier.VerifyFor(t.Context(), token, authn.Caller{}); err == nil {
		t.Error("a token of another key was taken")
	}
	write(issuer.JWKS())
	readAgain(f.reloads, c.Config.Log)
	if _, err := c.Config.Verifier.VerifyFor(t.Context(), token, authn.Caller{}); err != nil {
		t.Error(err)
	}
}
