// Package setup creates streams and buckets where nodes may not.
package setup

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
)

// Where nodes may not create streams, an operator does, before the first node
// starts: as the users setup-history and setup-registry of
// deploy/nats/permissions.conf.

func initRegistryCommand(c *command.Env) *cobra.Command {
	var yes console.ConfirmFlag
	var replicas int
	cmd := &cobra.Command{
		Use:   "init DBCODE...",
		Short: "Create the buckets of license regions",
		Long: `Create the registry's bucket of each license region on the NATS that wsctl is
pointed at. Buckets that are there are checked and left as they are. Nodes create
missing buckets themselves where they may; this is for where they may not.`,
		Args: command.Some("DBCODE..."),
		RunE: func(cmd *cobra.Command, licenses []string) error {
			for _, license := range licenses {
				if !docid.ValidRegion(license) || !strings.HasPrefix(license, "aws-") {
					return exit.With(exit.Usage, "%q: expected a dbCode, such as aws-eu-west-1", license)
				}
			}
			t, err := onlyTarget(c.Clusters, replicas)
			if err != nil {
				return err
			}
			if err := c.Confirm(&yes, "Create the registries of %s on %s?", strings.Join(licenses, ", "), reach.Redact(t.URL)); err != nil {
				return err
			}
			for _, license := range slices.Compact(licenses) {
				if err := initRegistry(cmd.Context(), c, t, docid.LicenseRegion(license), replicas); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", 1, "replicas of buckets that are created; 3 in production")
	yes.Register(cmd)
	return cmd
}

func initRegistry(ctx context.Context, c *command.Env, t reach.Target, license docid.LicenseRegion, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, c.Clusters.Timeout)
	defer cancel()
	source := t.Source()
	source.Create, source.Replicas = true, replicas
	created, err := kvpin.Create(ctx, license, source)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "%s: %s\n", kvpin.StreamName(license), initResult(created))
	return nil
}

func initResult(created bool) string {
	if created {
		return "created"
	}
	return "there already, and as nodes need it"
}

// HistoryCommand makes the noun about history streams.
func HistoryCommand(c *command.Env) *cobra.Command {
	return command.Noun("history", "The streams that keep the updates of live documents", nil, []*cobra.Command{initHistoryCommand(c)})
}

func initHistoryCommand(c *command.Env) *cobra.Command {
	var yes console.ConfirmFlag
	var config history.Config
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create a region's history streams",
		Long: `Create the history streams of the region whose NATS wsctl is pointed at, and as
many for documents that a store keeps. Those that are there are checked and left as
they are. Nodes create missing streams themselves where they may; this is for where
they may not.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := onlyTarget(c.Clusters, config.Replicas)
			if err != nil {
				return err
			}
			if config.Shards < 1 || config.Shards > history.MaxShards {
				return exit.WrongFlag("shards", "%d: expected 1 to %d", config.Shards, history.MaxShards)
			}
			if err := c.Confirm(&yes, "Create the history streams on %s?", reach.Redact(t.URL)); err != nil {
				return err
			}
			return initHistory(cmd.Context(), c, t, config)
		},
	}
	cmd.Flags().IntVar(&config.Shards, "shards", 1, "number of streams, of which a region that has some keeps its own")
	cmd.Flags().IntVar(&config.Replicas, "replicas", 1, "replicas of streams that are created; 3 in production")
	cmd.Flags().DurationVar(&config.MaxAge, "max-age", 0, "age at which streams that are created drop what crashes left (default 24h)")
	cmd.Flags().Int64Var(&config.MaxBytes, "max-bytes", 0, "size of each stream that is created (default: the account's limit)")
	yes.Register(cmd)
	return cmd
}

func initHistory(ctx context.Context, c *command.Env, t reach.Target, config history.Config) error {
	ctx, cancel := context.WithTimeout(ctx, c.Clusters.Timeout)
	defer cancel()
	nc, err := c.Clusters.Connect(t)
	if err != nil {
		return err
	}
	defer nc.Close()
	config.Domain, config.Log = t.Domain, slog.New(slog.DiscardHandler)
	shards, err := history.Create(ctx, nc, config)
	if err != nil {
		return err
	}
	config.Stored, config.Shards, config.MaxAge = true, shards, 0
	if _, err := history.Create(ctx, nc, config); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "%s as nodes need it\n", console.Plural(shards, "history stream"))
	return nil
}

// onlyTarget is the one NATS cluster that something is created on.
func onlyTarget(nats *reach.Clusters, replicas int) (reach.Target, error) {
	if replicas < 1 || replicas > 5 {
		return reach.Target{}, exit.WrongFlag("replicas", "%d: expected 1 to 5", replicas)
	}
	targets, err := nats.Targets()
	if err == nil && len(targets) > 1 {
		err = exit.With(exit.Usage, "expected one NATS to create them on, got %d", len(targets))
	}
	if err != nil {
		return reach.Target{}, err
	}
	return targets[0], nil
}
