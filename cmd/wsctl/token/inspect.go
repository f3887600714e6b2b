package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
)

// tokenView is what a token says and what a node makes of it. The token itself is
// not in it.
type tokenView struct {
	Algorithm string                     `json:"algorithm"`
	KeyID     string                     `json:"keyId"`
	Claims    map[string]json.RawMessage `json:"claims"`
	Checked   bool                       `json:"checked"` // against keys
	Good      bool                       `json:"good"`
	Verdict   string                     `json:"verdict"`
}

// inspectFlags say how a token is judged.
type inspectFlags struct {
	held                    Held
	jwksURL                 string
	issuer, audience, scope string
}

func inspectTokenCommand(c *command.Env) *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN]",
		Short: "Show what a token says; with --jwks-url also whether a node takes it",
		Long: `Show what a token says. With --jwks-url, or --dev-url, it is judged as a node
judges it; the exit code is 6 if it is refused. The token comes as argument, from
--token-file, from $WSCTL_TOKEN or from standard input, in this order, and is not
printed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := f.token(c, args)
			if err != nil {
				return err
			}
			c.Hide(token)
			view, err := f.inspect(cmd.Context(), token, c.Clusters.Timeout)
			if err != nil {
				return err
			}
			if c.JSON() {
				err = c.Value(view)
			} else {
				err = printToken(c.Out, view)
			}
			if err == nil && view.Checked && !view.Good {
				err = exit.With(exit.Unhealthy, "%s", view.Verdict)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.held.file, "token-file", "", "file with the token; - is standard input")
	fl.StringVar(&f.held.dev.devURL, "dev-url", "", "URL of a node of wsnode dev whose keys judge the token")
	fl.StringVar(&f.jwksURL, "jwks-url", "", "URL of the key set that judges the token; may hold {tenantId}")
	fl.StringVar(&f.issuer, "issuer", "", "required issuer; may hold {tenantId}")
	fl.StringVar(&f.audience, "audience", authn.DefaultAudience, "required audience")
	fl.StringVar(&f.scope, "scope", authn.DefaultAudience, "required scope")
	return cmd
}

func (f *inspectFlags) token(c *command.Env, args []string) (string, error) {
	given := strings.TrimSpace(os.Getenv(Variable))
	switch {
	case len(args) == 1 && args[0] != "-":
		return strings.TrimSpace(args[0]), nil
	case f.held.file != "":
		return readToken(c.Console, f.held.file)
	case len(args) == 0 && given != "":
		return given, nil
	}
	return readToken(c.Console, "-")
}

// inspect takes a token apart and has it judged.
func (f *inspectFlags) inspect(ctx context.Context, token string, timeout time.Duration) (v tokenView, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return v, exit.With(exit.Usage, "not a token: expected three parts, separated by dots")
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	if err := DecodePart(parts[0], &header); err != nil {
		return v, exit.With(exit.Usage, "not a token: header: %w", err)
	}
	if err := DecodePart(parts[1], &v.Claims); err != nil {
		return v, exit.With(exit.Usage, "not a token: claims: %w", err)
	}
	v.Algorithm, v.KeyID = header.Algorithm, header.KeyID
	v.Verdict = "not judged: give --jwks-url"
	verifier, err := f.verifier(ctx, timeout)
	if verifier == nil || err != nil {
		return v, err
	}
	defer verifier.Close()
	v.Checked = true
	grant, err := verifier.Verify(ctx, token)
	var invalid *authn.InvalidError
	switch {
	case err == nil:
		v.Good, v.Verdict = true, fmt.Sprintf("good until %s", grant.Expires.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid):
		v.Verdict = "refused with 4002 " + invalid.Message()
		if invalid.Detail != "" {
			v.Verdict += " (" + invalid.Detail + ")"
		}
	default:
		return v, exit.With(exit.Unavailable, "judge the token: %w", err)
	}
	return v, nil
}

// DecodePart reads the header or the claims of a token, which nobody has verified.
func DecodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return errors.New("not base64url")
	}
	return json.Unmarshal(text, into)
}

// verifier is nil if there are no keys to judge by.
func (f *inspectFlags) verifier(ctx context.Context, timeout time.Duration) (*authn.Verifier, error) {
	config := authn.Config{JWKSURL: f.jwksURL, Issuer: f.issuer, Audience: f.audience, Scope: f.scope, Timeout: timeout, PlainHTTP: true}
	if f.jwksURL == "" && f.held.dev.devURL == "" {
		return nil, nil
	}
	if f.jwksURL == "" {
		keys, err := devKeys(ctx, f.held.dev.devURL, timeout)
		if err != nil {
			return nil, err
		}
		config.KeySet = keys
	}
	verifier, err := authn.New(config)
	if err != nil {
		return nil, exit.WrongFlag("jwks-url", "%v", err)
	}
	return verifier, nil
}

// devKeys fetches the keys of a development node.
func devKeys(ctx context.Context, devURL string, timeout time.Duration) ([]byte, error) {
	u, err := web.HTTPURL("dev-url", devURL, "/dev/jwks")
	if err != nil {
		return nil, err
	}
	keys, err := web.Get(ctx, http.DefaultClient, u, "", timeout)
	if err != nil {
		return nil, fmt.Errorf("ask %s for its keys: %w", devURL, err)
	}
	return keys, nil
}

func printToken(w io.Writer, v tokenView) error {
	t := tabwriter.NewWriter(w, 0, 0, console.ColumnGap, ' ', 0)
	fmt.Fprintf(t, "algorithm\t%s\n", console.Printable(v.Algorithm))
	fmt.Fprintf(t, "key\t%s\n", console.Printable(v.KeyID))
	for _, name := range slices.Sorted(maps.Keys(v.Claims)) {
		fmt.Fprintf(t, "%s\t%s\n", console.Printable(name), console.Printable(claimText(name, v.Claims[name])))
	}
	fmt.Fprintf(t, "verdict\t%s\n", console.Printable(v.Verdict))
	return t.Flush()
}

// claimText spells a claim; moments also as people read them.
func claimText(name string, raw json.RawMessage) string {
	text := strings.Trim(string(raw), `"`)
	var seconds float64
	if (name == "exp" || name == "nbf" || name == "iat") && json.Unmarshal(raw, &seconds) == nil {
		at := time.Unix(int64(seconds), 0)
		when := "in " + console.ShortDuration(time.Until(at))
		if time.Until(at) < 0 {
			when = console.Ago(at) + " ago"
		}
		return fmt.Sprintf("%s (%s, %s)", text, at.UTC().Format(time.RFC3339), when)
	}
	return text
}
