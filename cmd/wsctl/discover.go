package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/kvpin"
)

// discovery is the answer of a node's /discovery.
type discovery struct {
	Asked  string  `json:"asked"` // the URL that was asked
	Region string  `json:"region"`
	URL    string  `json:"url"`
	IsNew  bool    `json:"isNew"`
	MS     float64 `json:"tookMs"`
}

var discoveryColumns = []column[discovery]{
	{"ASKED", false, func(d discovery) string { return d.Asked }},
	{"REGION", false, func(d discovery) string { return d.Region }},
	{"URL", false, func(d discovery) string { return d.URL }},
	{"NEW", false, func(d discovery) string { return fmt.Sprint(d.IsNew) }},
	{"TOOK MS", false, func(d discovery) string { return millis(d.MS) }},
}

func (c *cli) discoverCommand() *cobra.Command {
	var held heldToken
	var urls []string
	var trusted authorities
	cmd := &cobra.Command{
		Use:   "discover NAME",
		Short: "Ask where a document is, as a client does: over HTTP, with a token",
		Long: `Ask GET /discovery where a document is, as a client does. Without --url each
region that the registries know is asked at its public URL: the answers should
agree. Unlike other commands this one knows nothing that a client does not.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			token, err := held.get(ctx, c)
			if err != nil {
				return err
			}
			client, err := trusted.client()
			if err != nil {
				return err
			}
			defer client.CloseIdleConnections()
			var lost error
			if len(urls) == 0 {
				if urls, lost = c.publicURLs(ctx); len(urls) == 0 {
					return lost
				}
			}
			return printRows(c, discoveryColumns, func(yield func(discovery, error) bool) {
				for _, u := range urls {
					d, err := c.discover(ctx, client, u, args[0], token)
					if !yield(d, err) {
						return
					}
				}
				if lost != nil {
					yield(discovery{}, lost)
				}
			})
		},
	}
	held.register(cmd)
	trusted.register(cmd.Flags())
	cmd.Flags().StringArrayVar(&urls, "url", nil, "URL of a node or region to ask; repeat for more (default: all regions)")
	return cmd
}

// publicURLs are those of all live regions, and what hides others.
func (c *cli) publicURLs(ctx context.Context) (urls []string, err error) {
	err = c.withRegistries(ctx, func(r *registries) error {
		rows, err := r.regions(ctx)
		for _, row := range rows {
			if row.Status != kvpin.RegionDown {
				urls = append(urls, row.URL)
			}
		}
		return err
	})
	if len(urls) == 0 && err == nil {
		err = failed(exitUnavailable, "no region is live")
	}
	return urls, err
}

// parseURL reads the URL of a flag, which has one of the schemes.
func parseURL(flag, value string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return nil, wrongFlag(flag, "%q: expected a URL that begins with %s://", value, strings.Join(schemes, ":// or "))
	}
	return u, nil
}

// httpURL makes the URL of the HTTP API of a flag's URL, which may be that for WebSocket.
func httpURL(flag, base, path string) (*url.URL, error) {
	u, err := parseURL(flag, base, "ws", "wss", "http", "https")
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	return u.JoinPath(path), nil
}

func (c *cli) discover(ctx context.Context, client *http.Client, base, name, token string) (d discovery, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.reach.timeout)
	defer cancel()
	u, err := httpURL("url", base, "/discovery")
	if err != nil {
		return d, err
	}
	u.RawQuery = url.Values{"documentName": {name}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return d, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	start := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return d, failed(exitUnavailable, "ask %s: %w", base, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return d, failed(exitUnavailable, "ask %s: %w", base, err)
	}
	if answer.StatusCode != http.StatusOK {
		return d, fmt.Errorf("ask %s: %s: %s", base, answer.Status, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return d, fmt.Errorf("ask %s: %w", base, err)
	}
	d.Asked, d.MS = base, float64(time.Since(start).Microseconds())/1000
	return d, nil
}
