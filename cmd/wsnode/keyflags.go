package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
)

// keyFlags say whose tokens are taken, and what they may leave out.
type keyFlags struct {
	jwksURL, jwksFile, secretFile string
	plainHTTP                     bool
	issuer, audience, scope       string
	tenant, app, dbCode           string // of tokens that name none
}

func (f *keyFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.jwksURL, "jwks-url", "", "URL of the key set that tokens are signed with; may hold {tenantId}")
	fl.StringVar(&f.jwksFile, "jwks-file", "", "file with the key set instead, for all tenants; read again when it changes")
	fl.BoolVar(&f.plainHTTP, "jwks-plain-http", false, "take a --jwks-url with http that is not loopback: only in a network where nobody else can answer")
	fl.StringVar(&f.secretFile, "hs256-secret-file", "", "file with the secret of HS256 tokens instead, at least 32 bytes, for --default-tenant alone; read again when it changes")
	fl.StringVar(&f.tenant, "default-tenant", "", "tenant of tokens that name none (default: they are refused)")
	fl.StringVar(&f.app, "default-app", "", "app of tokens that name none (default: they are refused)")
	fl.StringVar(&f.dbCode, "default-dbcode", "", "license region of tokens that name none (default: they are refused)")
	fl.StringVar(&f.issuer, "issuer", "", "required issuer of tokens; may hold {tenantId}")
	fl.StringVar(&f.audience, "audience", authn.DefaultAudience, "required audience of tokens; with --hs256-secret-file, any: not looked at")
	fl.StringVar(&f.scope, "scope", authn.DefaultAudience, "required scope of tokens; with --hs256-secret-file, any: not looked at")
}

// check looks at the settings themselves.
func (f *keyFlags) check(served func(docid.LicenseRegion) bool) error {
	switch {
	case f.jwksURL == "" && f.jwksFile == "" && f.secretFile == "":
		return wrongFlag("jwks-url", "missing: expected the URL of the key set that tokens are signed with, or --jwks-file, or --hs256-secret-file")
	case f.jwksURL != "" && f.jwksFile != "":
		return wrongFlag("jwks-file", "expected no --jwks-url beside it")
	case f.secretFile != "" && (f.jwksURL != "" || f.jwksFile != ""):
		return wrongFlag("hs256-secret-file", "expected neither --jwks-url nor --jwks-file beside it: a node that takes both can be made to take a public key for a secret")
	case f.secretFile != "" && f.tenant == "":
		return wrongFlag("default-tenant", "missing: expected the tenant that the secret of --hs256-secret-file speaks for")
	case f.tenant != "" && !docid.ValidID(f.tenant):
		return wrongFlag("default-tenant", "%q: expected 1 to 64 of letters, digits, '.', '_', '-'", f.tenant)
	case f.app != "" && !docid.ValidID(f.app):
		return wrongFlag("default-app", "%q: expected 1 to 64 of letters, digits, '.', '_', '-'", f.app)
	case f.dbCode != "" && !served(docid.LicenseRegion(f.dbCode)):
		return wrongFlag("default-dbcode", "%q is not served: expected one of the registries, such as aws-eu-west-1", f.dbCode)
	case f.secretFile == "" && f.audience == authn.Any:
		return wrongFlag("audience", "any is for --hs256-secret-file: an issuer may sign for other services, too")
	case f.secretFile == "" && f.scope == authn.Any:
		return wrongFlag("scope", "any is for --hs256-secret-file: an issuer may sign for other services, too")
	}
	for flag, value := range map[string]string{"jwks-url": f.jwksURL, "issuer": f.issuer} {
		if strings.ContainsAny(strings.ReplaceAll(value, "{tenantId}", ""), "{}") {
			return wrongFlag(flag, "expected no braces but those of {tenantId}")
		}
	}
	return nil
}

// verifier judges tokens by these settings. A file is read now, so that a wrong one is an
// error at the start.
func (f *keyFlags) verifier(c *relay.Options) (*authn.Verifier, error) {
	err := f.check(func(license docid.LicenseRegion) bool { _, ok := c.Registries[license]; return ok })
	if err != nil {
		return nil, err
	}
	for flag, file := range map[string]string{"jwks-file": f.jwksFile, "hs256-secret-file": f.secretFile} {
		if file == "" {
			continue
		}
		// Without the log, which is for files that go wrong later.
		if _, err := authn.Ask(context.Background(), f.config(nil)); err != nil {
			return nil, wrongFlag(flag, "%s: %v", file, err)
		}
	}
	verifier, err := authn.New(f.config(c.Config.Log))
	if err != nil {
		return nil, wrongFlag("jwks-url", "%v", err)
	}
	return verifier, nil
}

// reload is what SIGHUP does about keys in a file; nil: they are in none.
func (f *keyFlags) reload(v *authn.Verifier) *reload {
	switch {
	case f.jwksFile != "":
		return &reload{"key set", v.Reload}
	case f.secretFile != "":
		return &reload{"HS256 secret", v.Reload}
	}
	return nil
}

func (f *keyFlags) config(log *slog.Logger) authn.Config {
	return authn.Config{
		JWKSURL: f.jwksURL, KeyFile: f.jwksFile, SecretFile: f.secretFile, PlainHTTP: f.plainHTTP,
		Issuer: f.issuer, Audience: f.audience, Scope: f.scope,
		Defaults: authn.Defaults{Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), License: docid.LicenseRegion(f.dbCode)},
		Log:      log,
	}
}
