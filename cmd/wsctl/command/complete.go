package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/kvpin"
)

const (
	completeTime = 1500 * time.Millisecond // a shell waits for no longer
	completeMost = 200                     // names that are worth showing
)

// PinStates are those of pins: free documents have none.
var PinStates = []string{kvpin.Live.String(), kvpin.Grace.String(), kvpin.Orphaned.String(), kvpin.Owed.String()}

// CompleteNames makes a completion of what find yields, which may fail: then there are no
// names. Completions run without the command's own checks.
func CompleteNames(nats *reach.Clusters, find func(ctx context.Context, typed string, add func(name string) bool)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTime)
		defer cancel()
		nats.Timeout = min(nats.Timeout, completeTime)
		seen := map[string]bool{}
		find(ctx, typed, func(name string) bool {
			if strings.HasPrefix(name, typed) && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
			return len(names) < completeMost
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteDocuments completes documents that are pinned.
func CompleteDocuments(nats *reach.Clusters) cobra.CompletionFunc {
	names := CompleteNames(nats, func(ctx context.Context, typed string, add func(string) bool) {
		eachPin(ctx, nats, kvpin.PinFilter{}, func(info kvpin.PinInfo) bool {
			if more := add(info.Document.String()); typed == "" || !more {
				return more
			}
			return add(strings.TrimPrefix(info.Document.String(), string(info.Document.License)+"/"))
		})
	})
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(cmd, args, typed)
	}
}

func eachPin(ctx context.Context, nats *reach.Clusters, f kvpin.PinFilter, take func(kvpin.PinInfo) bool) {
	_ = nats.WithRegistries(ctx, func(r *reach.Registries) error {
		for info, err := range r.Pins(ctx, "", f) {
			if err == nil && !take(info) {
				return nil
			}
		}
		return nil
	})
}

// EachNode goes through the nodes that answer, until take has enough.
func EachNode(ctx context.Context, nats *reach.Clusters, take func(reach.NodeClient) bool) {
	_ = nats.WithFleet(func(fl *reach.Fleet) error {
		nodes, err := fl.Nodes(ctx)
		for _, n := range nodes {
			if !take(n) {
				break
			}
		}
		return err
	})
}

// CompleteNodes completes nodes that answer.
func CompleteNodes(nats *reach.Clusters) cobra.CompletionFunc {
	return CompleteNames(nats, func(ctx context.Context, _ string, add func(string) bool) {
		EachNode(ctx, nats, func(n reach.NodeClient) bool { return add(string(n.Node)) })
	})
}

// CompleteFlags gives the flags that name something live completions of their own.
func CompleteFlags(nats *reach.Clusters, cmd *cobra.Command) {
	pinned := func(field func(kvpin.PinInfo) string) cobra.CompletionFunc {
		return CompleteNames(nats, func(ctx context.Context, _ string, add func(string) bool) {
			eachPin(ctx, nats, kvpin.PinFilter{}, func(info kvpin.PinInfo) bool { return add(field(info)) })
		})
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"node":    CompleteNodes(nats),
		"tenant":  pinned(func(i kvpin.PinInfo) string { return string(i.Document.Tenant) }),
		"app":     pinned(func(i kvpin.PinInfo) string { return string(i.Document.App) }),
		"region":  pinned(func(i kvpin.PinInfo) string { return string(i.Pin.Region) }),
		"license": completeLicenses(nats),
		"state":   cobra.FixedCompletions(PinStates, cobra.ShellCompDirectiveNoFileComp),
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that has one
		}
	}
}

// completeLicenses completes license regions that have a registry.
func completeLicenses(nats *reach.Clusters) cobra.CompletionFunc {
	return CompleteNames(nats, func(ctx context.Context, _ string, add func(string) bool) {
		sources, _, err := nats.Sources(ctx)
		if err != nil {
			return
		}
		for license := range sources {
			if !add(string(license)) {
				return
			}
		}
	})
}

// LicenseFlag adds --license to a verb about one document, and completes its flags.
func LicenseFlag(nats *reach.Clusters, cmd *cobra.Command, license *string) {
	cmd.Flags().StringVar(license, "license", "", "license region (dbCode), if the document is given without")
	CompleteFlags(nats, cmd)
}
