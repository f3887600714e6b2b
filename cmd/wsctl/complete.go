package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

const (
	completeTime = 1500 * time.Millisecond // a shell waits for no longer
	completeMost = 200                     // names that are worth showing
)

type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// names makes a completion of what find yields, which may fail: then there are no
// names. Completions run without the command's own checks.
func (c *cli) names(find func(ctx context.Context, typed string, add func(name string) bool)) completion {
	return func(cmd *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTime)
		defer cancel()
		c.reach.timeout = min(c.reach.timeout, completeTime)
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

// completeDocuments completes documents that are pinned.
func (c *cli) completeDocuments(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(func(ctx context.Context, typed string, add func(string) bool) {
		c.eachPin(ctx, kvpin.PinFilter{}, func(row pinRow) bool {
			if more := add(row.Document); typed == "" || !more {
				return more
			}
			return add(strings.TrimPrefix(row.Document, string(row.License)+"/"))
		})
	})(cmd, args, typed)
}

func (c *cli) eachPin(ctx context.Context, f kvpin.PinFilter, take func(pinRow) bool) {
	_ = c.withRegistries(ctx, func(r *registries) error {
		for info, err := range r.pins(ctx, "", f) {
			if err == nil && !take(newPinRow(info)) {
				return nil
			}
		}
		return nil
	})
}

func (c *cli) eachNode(ctx context.Context, take func(node) bool) {
	_ = c.withFleet(func(fl *fleet) error {
		nodes, err := fl.nodes(ctx)
		for _, n := range nodes {
			if !take(n) {
				break
			}
		}
		return err
	})
}

// completeNodes completes nodes that answer.
func (c *cli) completeNodes() completion {
	return c.names(func(ctx context.Context, _ string, add func(string) bool) {
		c.eachNode(ctx, func(n node) bool { return add(n.Node) })
	})
}

// completeSessions completes sessions as NODE/ID.
func (c *cli) completeSessions() completion {
	return c.names(func(ctx context.Context, typed string, add func(string) bool) {
		named, _, whole := strings.Cut(typed, "/")
		c.eachNode(ctx, func(n node) bool {
			if whole && n.Node != named || !strings.HasPrefix(n.Node, named) {
				return true
			}
			for s, err := range n.Sessions(ctx, n.Node, control.Filter{}) {
				if err != nil || !add(sessionName(n.Node, s.ID)) {
					return false
				}
			}
			return true
		})
	})
}

// completeFlags gives the flags that name something live completions of their own.
func (c *cli) completeFlags(cmd *cobra.Command) {
	pinned := func(field func(pinRow) string) completion {
		return c.names(func(ctx context.Context, _ string, add func(string) bool) {
			c.eachPin(ctx, kvpin.PinFilter{}, func(row pinRow) bool { return add(field(row)) })
		})
	}
	for flag, complete := range map[string]completion{
		"node":    c.completeNodes(),
		"tenant":  pinned(func(r pinRow) string { return string(r.Tenant) }),
		"app":     pinned(func(r pinRow) string { return string(r.App) }),
		"region":  pinned(func(r pinRow) string { return string(r.Region) }),
		"license": c.names(c.licenseNames),
		"state":   cobra.FixedCompletions([]string{"live", "grace", "orphaned", "owed"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that has one
		}
	}
}

func (c *cli) licenseNames(ctx context.Context, _ string, add func(string) bool) {
	sources, _, err := c.reach.sources(ctx)
	if err != nil {
		return
	}
	for license := range sources {
		if !add(string(license)) {
			return
		}
	}
}
