// Command wsctl shows operators what the nodes of wsnode do, and lets them
// change it. It talks to the nodes and the registries over NATS.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/bench"
	"github.com/wsnode/wsnode/cmd/wsctl/check"
	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/discover"
	"github.com/wsnode/wsnode/cmd/wsctl/docs"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/nodes"
	"github.com/wsnode/wsnode/cmd/wsctl/pins"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/cmd/wsctl/regions"
	"github.com/wsnode/wsnode/cmd/wsctl/sessions"
	"github.com/wsnode/wsnode/cmd/wsctl/setup"
	"github.com/wsnode/wsnode/cmd/wsctl/store"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/cmd/wsctl/top"
	"github.com/wsnode/wsnode/cmd/wsctl/trace"
	"github.com/wsnode/wsnode/relay/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	c := &command.Env{Console: console.New(ctx, in, out, errs), Clusters: &reach.Clusters{}}
	root := rootCommand(c)
	root.SetArgs(args)
	begun := false // the command and its arguments were right
	check := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		begun = true
		return check(cmd, args)
	}
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, command.ErrWatchEnded) {
		return 0
	}
	err = c.Clusters.Explain(err)
	fmt.Fprintln(errs, "wsctl:", c.Conceal(exit.Text(err)))
	if !begun {
		return exit.Usage
	}
	return exit.Code(err)
}

// rootCommand is the table of all commands, which help and completion read too.
func rootCommand(c *command.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "wsctl",
		Short: "See and change what the nodes of wsnode do",
		Long: `See and change what the nodes of wsnode do, over the NATS of a region.

Point it at a region by --nats-url, or by --context, which takes the contexts
of the nats command. Registries are found on the same NATS; name others by
--registry. Exit codes: 1 failed, 2 wrong usage, 3 not found, 4 NATS, a registry
or a node does not answer, 5 nothing changed, 6 a check found something wrong.`,
		Version:       version.Read().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	c.Clusters.Register(root.PersistentFlags())
	c.RegisterFormat(root)
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return cmp.Or(c.CheckFormat(), c.Clusters.Check()) }
	root.AddCommand(pins.Command(c), sessions.Command(c), sessions.RefusalsCommand(c), nodes.Command(c), docs.Command(c), regions.Command(c),
		check.Command(c), setup.RegistryCommand(c), store.Command(c), setup.HistoryCommand(c), token.Command(c), discover.Command(c), trace.Command(c), top.Command(c), bench.Command(c), versionCommand(c))
	_ = root.RegisterFlagCompletionFunc("context", cobra.FixedCompletions(reach.ContextNames(), cobra.ShellCompDirectiveNoFileComp))
	return root
}
