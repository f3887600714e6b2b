package store

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

// adoptFlags say what takes the place of a store, and what it is compared with.
type adoptFlags struct {
	compare string
	dryRun  bool
	sure    console.ConfirmFlag
}

func adoptStoreCommand(c *command.Env) *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt DBCODE URL",
		Short: "Put a copy in the place of a store that is lost",
		Long: `Give a copy of a store, which a replication or an import made, the id of the store
that the registry names, so that nodes that are started with its URL go on with it,
and with what their histories hold. The URL is one of --store; it is opened from here,
with the credentials that are found here.

What the copy lacks is listed: it is compared by names and hashes with --compare, the
URL of the lost store, if that still answers, or what wsctl store export wrote; and
with the documents that are live. --dry-run only compares.

The lost store keeps its id. Take its marker away, or its rights, before it can come
back: nodes that are started with its URL would believe it.`,
		Args: command.Exactly("DBCODE", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return adopt(cmd.Context(), c, docid.LicenseRegion(args[0]), args[1], &f)
		},
	}
	cmd.Flags().StringVar(&f.compare, "compare", "", "what was there: the URL of the lost store, a folder or FILE.tar of an export")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "compare, and change nothing")
	f.sure.Register(cmd)
	return cmd
}

func adopt(ctx context.Context, c *command.Env, license docid.LicenseRegion, address string, f *adoptFlags) error {
	if !f.dryRun {
		if err := refuseWorking(ctx, c, license); err != nil {
			return err
		}
	}
	copied, err := open.Open(ctx, address, license)
	if err != nil {
		return err
	}
	defer copied.Close()
	id, err := storage.Identify(ctx, copied)
	if errors.Is(err, storage.ErrAbsent) {
		id, err = storage.Identity{License: license}, nil
	}
	if err != nil {
		return err
	}
	if !id.Keeps(license) {
		return exit.With(exit.Declined, "%s keeps the documents of %s, not of %s", storage.Redact(address), id.License, license)
	}
	return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		i, named, err := namedStore(ctx, r, license)
		if err != nil {
			return err
		}
		sum, err := compareCopy(ctx, c, license, copied, f.compare, i)
		if err != nil || f.dryRun {
			return err
		}
		if err := c.Confirm(&f.sure, "Make %s store %s of %s (%s)?", storage.Redact(address), named, license, sum); err != nil {
			return err
		}
		next := storage.Identity{ID: named, License: id.License, KeyFormat: storage.KeyFormat}
		if err := storage.Adopt(ctx, copied, id.ID, next); err != nil {
			return err
		}
		if err := storage.Check(ctx, copied); err != nil {
			return exit.With(exit.Unhealthy, "it is store %s now, but nodes will not use it: %w", named, err)
		}
		c.Done("it is store %s of %s: start the nodes with --store %s, and let the lost one not come back", named, license, storage.Redact(address))
		return nil
	})
}

// refuseWorking returns an error if a node has a store that works: two stores of one id
// would take documents from each other.
func refuseWorking(ctx context.Context, c *command.Env, license docid.LicenseRegion) error {
	err := c.Clusters.WithFleet(func(fl *reach.Fleet) error {
		nodes, err := fl.Some(ctx, nil)
		for _, n := range nodes {
			states, err := n.Stores(ctx, n.Node, false)
			if err != nil {
				return err
			}
			for _, s := range states {
				if s.License == license && s.State == control.StoreOK {
					return exit.With(exit.Declined, "nothing was changed: node %s has store %s of %s, and it works", n.Node, s.ID, license)
				}
			}
		}
		return err
	})
	if exit.IsUnavailable(err) { // with the region, its nodes are lost
		c.Done("wsctl: it is not known whether nodes still have the store: %s", exit.Text(err))
		return nil
	}
	return err
}
