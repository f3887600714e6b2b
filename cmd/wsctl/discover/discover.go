// Package discover asks where a document is, as clients do.
package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
)

// discovery is the answer of a node's /discovery.
type discovery struct {
	Asked  string  `json:"asked"` // the URL that was asked
	Region string  `json:"region"`
	URL    string  `json:"url"`
	IsNew  bool    `json:"isNew"`
	MS     float64 `json:"tookMs"`
}

var discoveryColumns = []console.Column[discovery]{
	console.Shown("ASKED", func(d discovery) string { return d.Asked }),
	console.Shown("REGION", func(d discovery) string { return d.Region }),
	console.Shown("URL", func(d discovery) string { return d.URL }),
	console.Shown("NEW", func(d discovery) string { return fmt.Sprint(d.IsNew) }),
	console.Shown("TOOK MS", func(d discovery) string { return console.Millis(d.MS) }),
}

// Command makes the verb discover.
func Command(c *command.Env) *cobra.Command {
	var held token.Held
	var urls []string
	var trusted web.Authorities
	cmd := &cobra.Command{
		Use:   "discover NAME",
		Short: "Ask where a document is, as a client does: over HTTP, with a token",
		Long: `Ask GET /discovery where a document is, as a client does. Without --url each
region that the registries know is asked at its public URL: the answers should
agree. Unlike other commands this one knows nothing that a client does not.`,
		Args: command.Exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			token, err := held.Get(ctx, c)
			if err != nil {
				return err
			}
			client, err := trusted.Client()
			if err != nil {
				return err
			}
			defer client.CloseIdleConnections()
			var lost error
			if len(urls) == 0 {
				if urls, lost = publicURLs(ctx, c.Clusters); len(urls) == 0 {
					return lost
				}
			}
			return console.PrintRows(c.Console, discoveryColumns, func(yield func(discovery, error) bool) {
				for _, u := range urls {
					d, err := discover(ctx, c, client, u, args[0], token)
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
	held.Register(cmd)
	trusted.Register(cmd.Flags())
	cmd.Flags().StringArrayVar(&urls, "url", nil, "URL of a node or region to ask; repeat for more (default: all regions)")
	return cmd
}

// publicURLs are those of all live regions, and what hides others.
func publicURLs(ctx context.Context, nats *reach.Clusters) (urls []string, err error) {
	err = nats.WithRegistries(ctx, func(r *reach.Registries) error {
		rows, err := r.Regions(ctx)
		for _, row := range rows {
			if row.Status != kvpin.RegionDown {
				urls = append(urls, row.URL)
			}
		}
		return err
	})
	if len(urls) == 0 && err == nil {
		err = exit.With(exit.Unavailable, "no region is live")
	}
	return urls, err
}

func discover(ctx context.Context, c *command.Env, client *http.Client, base, name, token string) (d discovery, err error) {
	u, err := web.HTTPURL("url", base, "/discovery")
	if err != nil {
		return d, err
	}
	u.RawQuery = url.Values{"documentName": {name}}.Encode()
	start := time.Now()
	body, err := web.Get(ctx, client, u, token, c.Clusters.Timeout)
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	if err != nil {
		return d, fmt.Errorf("ask %s: %w", base, err)
	}
	d.Asked, d.MS = storage.Redact(base), float64(time.Since(start).Microseconds())/1000
	return d, nil
}
