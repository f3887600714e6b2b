// Package regions shows regions, says where their clients are sent, and evacuates them.
package regions

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
)

var regionColumns = []console.Column[reach.RegionRow]{
	console.Shown("REGION", func(r reach.RegionRow) string { return string(r.Region) }),
	console.Shown("STATUS", func(r reach.RegionRow) string {
		if r.Evacuated {
			return string(r.Status) + ", evacuated"
		}
		return string(r.Status)
	}),
	console.Shown("NODES", func(r reach.RegionRow) string { return console.Count(r.Nodes) }),
	console.Shown("URL", func(r reach.RegionRow) string {
		if len(r.Differs) == 0 {
			return r.URL
		}
		return r.URL + " (registries differ, see -o json)"
	}),
	console.Wide("REGISTRIES", func(r reach.RegionRow) string {
		words := make([]string, len(r.Registries))
		for i, license := range r.Registries {
			words[i] = string(license)
		}
		return strings.Join(words, ",")
	}),
}

// Command makes the noun regions.
func Command(c *command.Env) *cobra.Command {
	return command.Noun("regions", "Which regions there are, and where clients are sent", []*cobra.Command{listRegionsCommand(c)}, []*cobra.Command{setRegionCommand(c), evacuateCommand(c)})
}

func listRegionsCommand(c *command.Env) *cobra.Command {
	var w command.WatchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the regions that the registries know",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			err := c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
				return w.Repeat(ctx, c, func() error {
					rows, err := r.Regions(ctx)
					return console.PrintRows(c.Console, regionColumns, console.InMemory(rows, err))
				})
			})
			if w.Watch {
				err = command.WatchError(ctx, err)
			}
			return err
		},
	}
	w.Register(cmd)
	return cmd
}

func setRegionCommand(c *command.Env) *cobra.Command {
	var yes console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "set REGION URL",
		Short: "Write a region's public URL into the registries",
		Long: `Write a region's public URL into all registries that wsctl reaches. Nodes write
it only where it is missing: where clients, and their tokens, are sent to is an
operator's decision. Nodes use the new URL within seconds.`,
		Args:              command.Exactly("REGION", "URL"),
		ValidArgsFunction: completeRegions(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			region, address := docid.Region(args[0]), strings.TrimSuffix(args[1], "/")
			u, err := url.Parse(address)
			if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
				return exit.With(exit.Usage, "%q: expected ws:// or wss:// and a host, such as wss://eu-central-1.example", args[1])
			}
			if !docid.ValidRegion(args[0]) || strings.HasPrefix(args[0], "aws-") {
				return exit.With(exit.Usage, "%q: expected a WebSocket region: lower-case letters, digits and '-', not beginning with aws-", args[0])
			}
			return c.Clusters.WithRegistries(cmd.Context(), func(r *reach.Registries) error { return setRegion(cmd.Context(), c, r, region, address, &yes) })
		},
	}
	yes.Register(cmd)
	return cmd
}

// completeRegions completes an argument that is a region.
func completeRegions(nats *reach.Clusters) cobra.CompletionFunc {
	return command.CompleteNames(nats, func(ctx context.Context, _ string, add func(string) bool) {
		_ = nats.WithRegistries(ctx, func(r *reach.Registries) error {
			rows, err := r.Regions(ctx)
			for _, row := range rows {
				add(string(row.Region))
			}
			return err
		})
	})
}

func setRegion(ctx context.Context, c *command.Env, r *reach.Registries, region docid.Region, address string, yes *console.ConfirmFlag) error {
	known, err := r.Regions(ctx)
	if err != nil {
		return err // half of the registries changed would send clients to two places
	}
	before := "which no registry knows"
	if i := slices.IndexFunc(known, func(row reach.RegionRow) bool { return row.Region == region }); i >= 0 {
		before = "which is " + known[i].URL
	}
	if err := c.Confirm(yes, "Set the URL of %s, %s, to %s in %d registries?", region, before, address, len(r.Sources)); err != nil {
		return err
	}
	var changed []docid.LicenseRegion
	var errs []error
	for _, license := range r.Licenses() {
		if err := r.SetURL(ctx, license, region, address); err != nil {
			errs = append(errs, err)
			continue
		}
		changed = append(changed, license)
	}
	if len(changed) > 0 {
		c.Done("%s is at %s in %v", region, address, changed)
	}
	return errors.Join(errs...)
}
