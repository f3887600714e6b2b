// Package token makes tokens, looks into them, and holds those that other commands use.
package token

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
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

// Command makes the noun token.
func Command(c *command.Env) *cobra.Command {
	mint := mintCommand(c, "mint", "Make a token: a development node's, or with a key of one's own; also plain wsctl token")
	cmd := command.Noun("token", "Make tokens, and look into them", []*cobra.Command{mint, inspectTokenCommand(c), keySetCommand(c)}, nil)
	plain := mintCommand(c, "token", "")
	cmd.RunE = plain.RunE
	cmd.Flags().AddFlagSet(plain.Flags())
	return cmd
}

func mintCommand(c *command.Env, use, short string) *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, flag := range []string{"issuer", "audience", "scope", "document"} {
				if f.key == "" && cmd.Flags().Changed(flag) {
					return exit.WrongFlag(flag, "expected together with --key: a development node is not asked for it")
				}
			}
			for _, name := range f.documents {
				WarnOfFolding(c.Console, name)
			}
			make := f.ask
			if f.key != "" {
				make = func(context.Context, time.Duration) (string, error) { return f.sign() }
			}
			token, err := make(cmd.Context(), c.Clusters.Timeout)
			if err != nil {
				return err
			}
			if c.JSON() {
				return c.Value(map[string]string{"token": token})
			}
			_, err = fmt.Fprintln(c.Out, token)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.devURL, "dev-url", defaultDevURL, "URL of a node of wsnode dev that issues the token")
	fl.StringVar(&f.key, "key", "", "sign with this private key (PEM or JWK: RSA, P-256, P-384, P-521, Ed25519) instead; token jwks publishes it")
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

// WarnOfFolding tells who chooses a name that has the form x/x that it is the name x: two
// folders of one name, one in the other, are one document.
func WarnOfFolding(c *console.Console, name string) {
	if folded, err := docid.Parse(name); err == nil && folded != name {
		c.Done("wsctl: the document %q is %q: a name that is the same twice, with a slash between, is that name once", name, folded)
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
		q.Set(key, console.Count(value))
	}
	for _, domain := range f.domains {
		q.Add("domain", domain)
	}
	return q
}

// ask has a development node issue a token.
func (f *tokenFlags) ask(ctx context.Context, timeout time.Duration) (string, error) {
	u, err := web.HTTPURL("dev-url", f.devURL, "/dev/token")
	if err != nil {
		return "", err
	}
	u.RawQuery = f.query().Encode()
	body, err := web.Get(ctx, http.DefaultClient, u, "", timeout)
	if err != nil {
		return "", fmt.Errorf("ask %s for a token: %w", f.devURL, err)
	}
	return strings.TrimSpace(string(body)), nil
}

// sign makes a token with the operator's key.
func (f *tokenFlags) sign() (string, error) {
	s := authn.Subject{
		Tenant: docid.Tenant(cmp.Or(f.tenant, "dev")), App: docid.App(cmp.Or(f.app, "demo")),
		License: docid.LicenseRegion(cmp.Or(f.license, "aws-eu-west-1")), RegionCode: f.region,
		Limits:  f.limits,
		Domains: f.domains, Documents: f.documents, Audience: f.audience, ReadOnly: f.access == "readonly",
		Extra: map[string]any{"scope": f.scope},
	}
	if f.access != "" && f.access != "readonly" && f.access != "readwrite" {
		return "", exit.WrongFlag("access", "%q: expected readonly or readwrite", f.access)
	}
	var err error
	if s.TTL, err = time.ParseDuration(cmp.Or(f.ttl, "1h")); err != nil || s.TTL == 0 {
		return "", exit.WrongFlag("ttl", "%q: expected a duration such as 90s or 1h", f.ttl)
	}
	issuer, err := openIssuer(f.key, f.issuer)
	if err != nil {
		return "", err
	}
	return issuer.Mint(s)
}

// openIssuer reads a private key.
func openIssuer(file, name string) (*authn.Issuer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, exit.WrongFlag("key", "%v", err)
	}
	key, err := authn.ParseSigningKey(text)
	if err != nil {
		return nil, exit.WrongFlag("key", "%s: %v", file, err)
	}
	issuer, err := authn.NewIssuer(key, name)
	if err != nil {
		return nil, exit.WrongFlag("key", "%s: %v", file, err)
	}
	return issuer, nil
}

func keySetCommand(c *command.Env) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "jwks",
		Short: "Print the key set that publishes a private key, for --jwks-url",
		Args:  command.Exactly(),
		RunE: func(*cobra.Command, []string) error {
			if key == "" {
				return exit.WrongFlag("key", "expected a file with a private key")
			}
			issuer, err := openIssuer(key, "")
			if err == nil {
				_, err = fmt.Fprintln(c.Out, string(issuer.JWKS()))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private key, in PEM or as a JWK")
	return cmd
}
