// Package command holds what wsctl's commands are made of: what they are given, nouns and
// verbs, listings that repeat, and completion.
package command

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
)

// Env is what a command is given: where it prints and asks, and the way to NATS. What else
// a command needs are its own flags.
type Env struct {
	*console.Console
	Clusters *reach.Clusters
}

// The groups of verbs in help.
const (
	GroupRead   = "read"
	GroupChange = "change"
)

// Noun makes a command that only holds verbs, those that change something apart. A hidden
// verb is in no group, so that help shows no group without verbs.
func Noun(use, short string, read, change []*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	add := func(group, title string, verbs []*cobra.Command) {
		for _, v := range verbs {
			if !v.Hidden {
				v.GroupID = group
			}
			if !v.Hidden && !cmd.ContainsGroup(group) {
				cmd.AddGroup(&cobra.Group{ID: group, Title: title})
			}
			cmd.AddCommand(v)
		}
	}
	add(GroupRead, "Commands that only look:", read)
	add(GroupChange, "Commands that change something, and ask before:", change)
	return cmd
}

// Some is cobra.MinimumNArgs(1) with a name for what is expected.
func Some(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return exit.With(exit.Usage, "%s: expected %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// Exactly is cobra.ExactArgs with names for what is expected; nothing: no argument.
func Exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(what) {
			return exit.With(exit.Usage, "%s: expected %s", cmd.CommandPath(), cmp.Or(strings.Join(what, " "), "no argument"))
		}
		return nil
	}
}
