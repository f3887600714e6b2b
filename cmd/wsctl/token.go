package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// tokenFlags say what a token is to allow, and who signs it.
type tokenFlags struct {
	devURL, tenant, app, license, region, ttl, access     string
	domains                                               []string
	maxConnections, maxDocuments, maxUsersPerDoc, opsRate int
}

func (c *cli) tokenCommand() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Ask a development node for a token",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := f.ask(cmd.Context(), c.reach.timeout)
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
	fl.StringVar(&f.devURL, "dev-url", "http://127.0.0.1:8080", "URL of a node of wsnode dev")
	fl.StringVar(&f.tenant, "tenant", "", "tenant (default: the node's)")
	fl.StringVar(&f.app, "app", "", "app (default: the node's)")
	fl.StringVar(&f.license, "license", "", "license region, dbCode (default: the node's)")
	fl.StringVar(&f.region, "region", "", "WebSocket region nearest to the user")
	fl.StringVar(&f.ttl, "ttl", "", "how long the token is good for, such as 90s or 1h (default: the node's)")
	fl.StringVar(&f.access, "access", "", "readonly or readwrite")
	fl.StringArrayVar(&f.domains, "domain", nil, "allowed origin; repeat for more")
	fl.IntVar(&f.maxConnections, "max-connections", 0, "limit of the app; 0: none")
	fl.IntVar(&f.maxDocuments, "max-documents", 0, "limit of the app; 0: none")
	fl.IntVar(&f.maxUsersPerDoc, "max-users-per-doc", 0, "limit of each document; 0: none")
	fl.IntVar(&f.opsRate, "ops-per-minute", 0, "limit of the app; 0: none")
	return cmd
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
	for key, value := range map[string]int{
		"maxConnections": f.maxConnections, "maxDocuments": f.maxDocuments,
		"maxUsersPerDoc": f.maxUsersPerDoc, "opsPerMinute": f.opsRate,
	} {
		if value != 0 {
			q.Set(key, fmt.Sprint(value))
		}
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
	base, err := url.Parse(f.devURL)
	if err != nil || base.Host == "" {
		return "", wrongFlag("dev-url", "%q: expected a URL such as http://127.0.0.1:8080", f.devURL)
	}
	base = base.JoinPath("/dev/token")
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
