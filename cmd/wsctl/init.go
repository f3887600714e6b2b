package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
)

// Where nodes may not create streams, an operator does, before the first node
// starts: as the users setup-history and setup-registry of
// deploy/nats/permissions.conf.

func (c *cli) initRegistryCommand() *cobra.Command {
	var yes confirmFlag
	var replicas int
	cmd := &cobra.Command{
		Use:   "init DBCODE...",
		Short: "Create the buckets of license regions",
		Long: `Create the registry's bucket of each license region on the NATS that wsctl is
pointed at. Buckets that are there are checked and left as they are. Nodes create
missing buckets themselves where they may; this is for where they may not.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, licenses []string) error {
			for _, license := range licenses {
				if !docid.ValidRegion(license) || !strings.HasPrefix(license, "aws-") {
					return failed(exitUsage, "%q: expected a dbCode, such as aws-eu-west-1", license)
				}
			}
			t, err := c.onlyTarget(replicas)
			if err != nil {
				return err
			}
			if err := c.confirm(&yes, "Create the registries of %s on %s?", strings.Join(licenses, ", "), redact(t.url)); err != nil {
				return err
			}
			for _, license := range slices.Compact(licenses) {
				if err := c.initRegistry(cmd.Context(), t, docid.LicenseRegion(license), replicas); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", 1, "replicas of buckets that are created; 3 in production")
	yes.register(cmd)
	return cmd
}

func (c *cli) initRegistry(ctx context.Context, t target, license docid.LicenseRegion, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, c.reach.timeout)
	defer cancel()
	source := t.source()
	source.Create, source.Replicas = true, replicas
	created, err := kvpin.Create(ctx, license, source)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s: %s\n", kvpin.StreamName(license), initResult(created))
	return nil
}

func initResult(created bool) string {
	if created {
		return "created"
	}
	return "there already, and as nodes need it"
}

func (c *cli) historyCommand() *cobra.Command {
	return noun("history", "The streams that keep the updates of live documents", nil, []*cobra.Command{c.initHistoryCommand()})
}

func (c *cli) initHistoryCommand() *cobra.Command {
	var yes confirmFlag
	var config history.Config
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create a region's history streams",
		Long: `Create the history streams of the region whose NATS wsctl is pointed at, and as
many for documents that a store keeps. Those that are there are checked and left as they are. Nodes create missing streams
themselves where they may; this is for where they may not.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := c.onlyTarget(config.Replicas)
			if err != nil {
				return err
			}
			if config.Shards < 1 || config.Shards > history.MaxShards {
				return wrongFlag("shards", "%d: expected 1 to %d", config.Shards, history.MaxShards)
			}
			if err := c.confirm(&yes, "Create the history streams on %s?", redact(t.url)); err != nil {
				return err
			}
			return c.initHistory(cmd.Context(), t, config)
		},
	}
	cmd.Flags().IntVar(&config.Shards, "shards", 1, "number of streams, of which a region that has some keeps its own")
	cmd.Flags().IntVar(&config.Replicas, "replicas", 1, "replicas of streams that are created; 3 in production")
	cmd.Flags().DurationVar(&config.MaxAge, "max-age", 0, "age at which streams that are created drop what crashes left (default 24h)")
	cmd.Flags().Int64Var(&config.MaxBytes, "max-bytes", 0, "size of each stream that is created (default: the account's limit)")
	yes.register(cmd)
	return cmd
}

func (c *cli) initHistory(ctx context.Context, t target, config history.Config) error {
	ctx, cancel := context.WithTimeout(ctx, c.reach.timeout)
	defer cancel()
	nc, err := c.reach.connect(t)
	if err != nil {
		return err
	}
	defer nc.Close()
	config.Domain, config.Log = t.domain, slog.New(slog.DiscardHandler)
	shards, err := history.Create(ctx, nc, config)
	if err != nil {
		return err
	}
	config.Stored, config.Shards, config.MaxAge = true, shards, 0
	if _, err := history.Create(ctx, nc, config); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s as nodes need it\n", plural(shards, "history stream"))
	return nil
}

// onlyTarget is the one NATS cluster that something is created on.
func (c *cli) onlyTarget(replicas int) (target, error) {
	if replicas < 1 || replicas > 5 {
		return target{}, wrongFlag("replicas", "%d: expected 1 to 5", replicas)
	}
	targets, err := c.reach.targets()
	if err == nil && len(targets) > 1 {
		err = failed(exitUsage, "expected one NATS to create them on, got %d", len(targets))
	}
	if err != nil {
		return target{}, err
	}
	return targets[0], nil
}
