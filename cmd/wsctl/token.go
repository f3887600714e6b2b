package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

// tokenFlags say what a token is to allow, and who signs it.
type tokenFlags struct {
	devURL, key, issuer, audience, scope      string
	tenant, app, license, region, ttl, access string
	domains, documents                        []string
	limits                                    authn.Limits
}

const defaultDevURL = "http://127.0.0.1:8080"

func (c *cli) tokenCommand() *cobra.Command {
	mint := c.mintCommand("mint", "Make a token: a development node's, or with a key of one's own; also plain wsctl token")
	cmd := noun("token", "Make tokens, and look into them", []*cobra.Command{mint, c.inspectTokenCommand(), c.keySetCommand()}, nil)
	plain := c.mintCommand("token", "")
	cmd.RunE = plain.RunE
	cmd.Flags().AddFlagSet(plain.Flags())
	return cmd
}

func (c *cli) mintCommand(use, short string) *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, flag := range []string{"issuer", "audience", "scope", "document"} {
				if f.key == "" && cmd.Flags().Changed(flag) {
					return wrongFlag(flag, "expected together with --key: a development node is not asked for it")
				}
			}
			for _, name := range f.documents {
				c.warnOfFolding(name)
			}
			make := f.ask
			if f.key != "" {
				make = func(context.Context, time.Duration) (string, error) { return f.sign() }
			}
			token, err := make(cmd.Context(), c.reach.timeout)
			if err != nil {
				return err
			}
			if c.output == "json" {
				return writeJSON(c.out, "", map[string]string{"token": token}, "\n")
			}
			_, err = fmt.Fprintln(c.out, token)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.devURL, "dev-url", defaultDevURL, "URL of a node of wsnode dev that issues the token")
	fl.StringVar(&f.key, "key", "", "sign with this private key (PEM: RSA, P-256, P-384, P-521, Ed25519) instead; token jwks publishes it")
	fl.StringVar(&f.issuer, "issuer", "", "issuer, with --key")
	fl.StringVar(&f.audience, "audience", authn.DefaultAudience, "audience, with --key")
	fl.StringVar(&f.scope, "scope", authn.DefaultAudience, "scope, with --key")
	fl.StringArrayVar(&f.documents, "document", nil, "only this document, or prefix such as notes/*, with --key; repeat for more")
	fl.StringVar(&f.tenant, "tenant", "", "tenant (default: dev)")
	fl.StringVar(&f.app, "app", "", "app (default: demo)")
	fl.StringVar(&f.license, "license", "", "license region, dbCode (default: aws-eu-west-1)")
	fl.StringVar(&f.region, "region", "", "WebSocket region nearest to the user")
	fl.StringVar(&f.ttl, "ttl", "", "how long the token is good for, such as 90s or 1h (default: 1h)")
	fl.StringVar(&f.access, "access", "", "readonly or readwrite")
	fl.StringArrayVar(&f.domains, "domain", nil, "allowed origin; repeat for more")
	for _, limit := range authn.LimitClaims {
		fl.IntVar(limit.Field(&f.limits), limit.Flag, 0, "limit of "+limit.Of+"; 0: none")
	}
	return cmd
}

// warnOfFolding tells who chooses a name that has the form x/x that it is the name x: two
// folders of one name, one in the other, are one document.
func (c *cli) warnOfFolding(name string) {
	if folded, err := docid.Parse(name); err == nil && folded != name {
		c.done("wsctl: the document %q is %q: a name that is the same twice, with a slash between, is that name once", name, folded)
	}
}

// query is what /dev/token is asked.
func (f *tokenFlags) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{
		"tenant": f.tenant, "app": f.app, "dbCode": f.license, "regionCode": f.region, "ttl": f.ttl, "access": f.access,
	} {
		if value != "" {
			q.Set(key, value)
		}
	}
	for key, value := range f.limits.Set() {
		q.Set(key, count(value))
	}
	for _, domain := range f.domains {
		q.Add("domain", domain)
	}
	return q
}

// maxAnswer bounds what is read of an HTTP answer, in bytes.
const maxAnswer = 1 << 20

// ask has a development node issue a token.
func (f *tokenFlags) ask(ctx context.Context, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	base, err := httpURL("dev-url", f.devURL, "/dev/token")
	if err != nil {
		return "", err
	}
	base.RawQuery = f.query().Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", failed(exitUnavailable, "ask %s for a token: %w", f.devURL, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return "", failed(exitUnavailable, "ask %s for a token: %w", f.devURL, err)
	}
	body := strings.TrimSpace(string(text))
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask %s for a token: %s: %s", f.devURL, answer.Status, body)
	}
	return body, nil
}

// sign makes a token with the operator's key.
func (f *tokenFlags) sign() (string, error) {
	s := authn.Subject{
		Tenant: docid.Tenant(orElse(f.tenant, "dev")), App: docid.App(orElse(f.app, "demo")),
		License: docid.LicenseRegion(orElse(f.license, "aws-eu-west-1")), RegionCode: f.region,
		Limits:  f.limits,
		Domains: f.domains, Documents: f.documents, Audience: f.audience, ReadOnly: f.access == "readonly",
		Extra: map[string]any{"scope": f.scope},
	}
	if f.access != "" && f.access != "readonly" && f.access != "readwrite" {
		return "", wrongFlag("access", "%q: expected readonly or readwrite", f.access)
	}
	var err error
	if s.TTL, err = time.ParseDuration(orElse(f.ttl, "1h")); err != nil || s.TTL == 0 {
		return "", wrongFlag("ttl", "%q: expected a duration such as 90s or 1h", f.ttl)
	}
	issuer, err := openIssuer(f.key, f.issuer)
	if err != nil {
		return "", err
	}
	return issuer.Mint(s)
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// openIssuer reads a private key.
func openIssuer(file, name string) (*authn.Issuer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, wrongFlag("key", "%v", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, wrongFlag("key", "%s: %v", file, err)
	}
	issuer, err := authn.NewIssuer(key, name)
	if err != nil {
		return nil, wrongFlag("key", "%s: %v", file, err)
	}
	return issuer, nil
}

// parseKey reads the first private key of a PEM file, in any of the three
// wrappings that openssl writes.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue // openssl writes parameters before the key
		}
		if err != nil {
			return nil, err
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("expected a private key in PEM")
}

func (c *cli) keySetCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "jwks",
		Short: "Print the key set that publishes a private key, for --jwks-url",
		Args:  exactly(),
		RunE: func(*cobra.Command, []string) error {
			if key == "" {
				return wrongFlag("key", "expected a file with a private key in PEM")
			}
			issuer, err := openIssuer(key, "")
			if err == nil {
				_, err = fmt.Fprintln(c.out, string(issuer.JWKS()))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private key in PEM")
	return cmd
}
