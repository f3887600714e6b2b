package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

func initStoreCommand(c *command.Env) *cobra.Command {
	var sure console.ConfirmFlag
	var nodes []string
	cmd := &cobra.Command{
		Use:   "init [DBCODE]",
		Short: "Make a store this installation's, which nodes wait for",
		Long: `Write the marker of a store, if it has none, and its id into the registry. Nodes
do so themselves if the store is empty and no document is live; otherwise they
take no clients until it is done, and say so in their logs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			license := strings.Join(args, "")
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				some, err := fl.Some(ctx, nodes)
				if len(some) == 0 {
					return err
				}
				named, seen := 0, map[docid.LicenseRegion]bool{}
				for _, n := range some {
					states, err := n.Stores(ctx, n.Node, false)
					if err != nil {
						return err
					}
					for _, s := range states {
						if license != "" && string(s.License) != license || seen[s.License] || s.State != control.StoreUnnamed {
							continue
						}
						seen[s.License] = true
						if err := nameStore(ctx, c, &sure, n, s); err != nil {
							return err
						}
						named++
					}
				}
				if named == 0 {
					return exit.With(exit.NotFound, "no node waits for a store%s to be named: see wsctl store check", forLicense(docid.LicenseRegion(license)))
				}
				return nil
			})
		},
	}
	sure.Register(cmd)
	cmd.Flags().StringArrayVar(&nodes, "node", nil, "node to ask (default: all); repeat for more")
	return cmd
}

func nameStore(ctx context.Context, c *command.Env, sure *console.ConfirmFlag, n reach.NodeClient, s control.StoreState) error {
	what := "it has no marker: one is written"
	if s.Marker != "" {
		what = fmt.Sprintf("its marker says that it is store %s and keeps the documents of %s", s.Marker, s.Keeps)
	}
	if err := c.Confirm(sure, "Name the store that node %s has for %s (%s; %s)?", n.Node, s.License, s.Detail, what); err != nil {
		return err
	}
	now, err := n.StoreName(ctx, n.Node, control.StoreNameRequest{License: s.License, Marker: s.Marker})
	if err == nil {
		c.Done("the registry of %s names store %s", s.License, now.ID)
	}
	return err
}

func forgetStoreCommand(c *command.Env) *cobra.Command {
	var sure console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "forget DBCODE",
		Short: "Have the registry name no store any more, when the store is lost",
		Long: `Take the id of the store out of the registry. Nodes that run go on with the store
that they have; those that start later name another one. This is for a store that
is lost, or whose marker is: see the runbook.`,
		Args: command.Exactly("DBCODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, license := cmd.Context(), docid.LicenseRegion(args[0])
			return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
				i, id, err := namedStore(ctx, r, license)
				if err != nil {
					return err
				}
				if err := c.Confirm(&sure, "Have the registry of %s forget store %s?", license, id); err != nil {
					return err
				}
				if err := i.NameStore(ctx, license, id, ""); err != nil {
					return err
				}
				c.Done("the registry of %s names no store", license)
				return nil
			})
		},
	}
	sure.Register(cmd)
	return cmd
}

// namedStore is the way to a registry, and the id of the store that it names.
func namedStore(ctx context.Context, r *reach.Registries, license docid.LicenseRegion) (i *kvpin.Inspector, id string, err error) {
	if i, err = r.Inspector(license); err != nil {
		return nil, "", err
	}
	if id, err = i.StoreID(ctx, license); err == nil && id == "" {
		err = exit.With(exit.NotFound, "the registry of %s names no store: wsctl store init names the one that nodes have", license)
	}
	return i, id, err
}
