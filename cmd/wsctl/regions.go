package main

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// regionRow is a region as the registries know it.
type regionRow struct {
	Region     docid.Region          `json:"region"`
	URL        string                `json:"url"`
	Status     kvpin.RegionStatus    `json:"status"`
	Nodes      int                   `json:"nodes"`     // with a lease
	Evacuated  bool                  `json:"evacuated"` // marked: no document begins there
	Registries []docid.LicenseRegion `json:"registries"`
	// Differs holds the URLs of registries that have another one: clients are then
	// sent to different places.
	Differs map[docid.LicenseRegion]string `json:"differs,omitempty"`
}

var regionColumns = []column[regionRow]{
	{"REGION", false, func(r regionRow) string { return string(r.Region) }},
	{"STATUS", false, func(r regionRow) string {
		if r.Evacuated {
			return string(r.Status) + ", evacuated"
		}
		return string(r.Status)
	}},
	{"NODES", false, func(r regionRow) string { return count(r.Nodes) }},
	{"URL", false, func(r regionRow) string {
		if len(r.Differs) == 0 {
			return r.URL
		}
		return r.URL + " (registries differ, see -o json)"
	}},
	{"REGISTRIES", true, func(r regionRow) string {
		words := make([]string, len(r.Registries))
		for i, license := range r.Registries {
			words[i] = string(license)
		}
		return strings.Join(words, ",")
	}},
}

func (c *cli) regionsCommand() *cobra.Command {
	return noun("regions", "Which regions there are, and where clients are sent", []*cobra.Command{c.listRegionsCommand()}, []*cobra.Command{c.setRegionCommand(), c.evacuateCommand()})
}

func (c *cli) listRegionsCommand() *cobra.Command {
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the regions that the registries know",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			err := c.withRegistries(ctx, func(r *registries) error {
				return c.repeat(ctx, &w, func() error {
					rows, err := r.regions(ctx)
					return printRows(c, regionColumns, inMemory(rows, err))
				})
			})
			if w.watch {
				err = watchError(ctx, err)
			}
			return err
		},
	}
	w.register(cmd)
	return cmd
}

// regions joins what the registries say.
func (r *registries) regions(ctx context.Context) ([]regionRow, error) {
	rows := map[docid.Region]*regionRow{}
	nodes := map[docid.Region]map[docid.NodeID]bool{}
	leases, err := r.leases(ctx)
	errs := []error{err}
	for _, some := range leases {
		for _, l := range some {
			if nodes[l.Region] == nil {
				nodes[l.Region] = map[docid.NodeID]bool{}
			}
			nodes[l.Region][l.Node] = true
		}
	}
	for _, license := range r.licenses() {
		i, err := r.inspector(license)
		if err != nil {
			continue // in err already
		}
		infos, err := i.Regions(ctx, license)
		errs = append(errs, err)
		for _, info := range infos {
			row := rows[info.Region]
			if row == nil {
				row = &regionRow{Region: info.Region, URL: info.URL, Status: kvpin.RegionDown, Nodes: len(nodes[info.Region])}
				rows[info.Region] = row
			}
			if info.URL != row.URL {
				if row.Differs == nil {
					row.Differs = map[docid.LicenseRegion]string{}
				}
				row.Differs[license] = info.URL
			}
			row.Evacuated = row.Evacuated || info.Evacuated
			if info.Status == kvpin.RegionLive || row.Status == kvpin.RegionDown {
				row.Status = info.Status
			}
			row.Registries = append(row.Registries, license)
		}
	}
	list := make([]regionRow, 0, len(rows))
	for _, region := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, *rows[region])
	}
	return list, errors.Join(errs...)
}

func (c *cli) setRegionCommand() *cobra.Command {
	var yes confirmFlag
	cmd := &cobra.Command{
		Use:   "set REGION URL",
		Short: "Write a region's public URL into the registries",
		Long: `Write a region's public URL into all registries that wsctl reaches. Nodes write
it only where it is missing: where clients, and their tokens, are sent to is an
operator's decision. Nodes use the new URL within seconds.`,
		Args:              exactly("REGION", "URL"),
		ValidArgsFunction: c.completeRegions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			region, address := docid.Region(args[0]), strings.TrimSuffix(args[1], "/")
			u, err := url.Parse(address)
			if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
				return failed(exitUsage, "%q: expected ws:// or wss:// and a host, such as wss://eu-central-1.example", args[1])
			}
			if !docid.ValidRegion(args[0]) || strings.HasPrefix(args[0], "aws-") {
				return failed(exitUsage, "%q: expected a WebSocket region: lower-case letters, digits and '-', not beginning with aws-", args[0])
			}
			return c.withRegistries(cmd.Context(), func(r *registries) error { return c.setRegion(cmd.Context(), r, region, address, &yes) })
		},
	}
	yes.register(cmd)
	return cmd
}

// completeRegions completes an argument that is a region.
func (c *cli) completeRegions() cobra.CompletionFunc {
	return c.names(func(ctx context.Context, _ string, add func(string) bool) {
		_ = c.withRegistries(ctx, func(r *registries) error {
			rows, err := r.regions(ctx)
			for _, row := range rows {
				add(string(row.Region))
			}
			return err
		})
	})
}

func (c *cli) setRegion(ctx context.Context, r *registries, region docid.Region, address string, yes *confirmFlag) error {
	known, err := r.regions(ctx)
	if err != nil {
		return err // half of the registries changed would send clients to two places
	}
	before := "which no registry knows"
	if i := slices.IndexFunc(known, func(row regionRow) bool { return row.Region == region }); i >= 0 {
		before = "which is " + known[i].URL
	}
	if err := c.confirm(yes, "Set the URL of %s, %s, to %s in %d registries?", region, before, address, len(r.sources)); err != nil {
		return err
	}
	var changed []docid.LicenseRegion
	var errs []error
	for _, license := range r.licenses() {
		if err := r.setURL(ctx, license, region, address); err != nil {
			errs = append(errs, err)
			continue
		}
		changed = append(changed, license)
	}
	if len(changed) > 0 {
		c.done("%s is at %s in %v", region, address, changed)
	}
	return errors.Join(errs...)
}
