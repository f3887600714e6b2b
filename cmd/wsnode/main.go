// Command wsnode is the sync service: "wsnode serve" is one node as a daemon,
// "wsnode dev" is everything in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/conceal"
	"github.com/wsnode/wsnode/relay/version"
)

// Exit codes, those of wsctl.
const (
	exitUsage     = 2 // a wrong setting or argument
	exitUnhealthy = 6 // a check found something wrong
)

// usageError is a wrong setting: its text names the flag and what it expects.
type usageError struct{ error }

func wrongFlag(flag, format string, args ...any) error {
	return usageError{fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...))}
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // before anybody notices: a second signal ends the process at once
		stop()
	}()
	var memory sync.WaitGroup
	memory.Go(func() { tuneMemory(ctx) })
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	memory.Wait()
	os.Exit(code)
}

func run(ctx context.Context, args []string, errs io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "wsnode:", conceal.URLs(err.Error()))
	if wrong := (usageError{}); errors.As(err, &wrong) || strings.HasPrefix(err.Error(), "unknown command ") {
		return exitUsage
	}
	if errors.Is(err, errUnhealthy) {
		return exitUnhealthy
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wsnode",
		Short:         "Self-hosted sync for Yjs editors",
		Version:       version.Read().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServeCommand(), newDevCommand(), newVersionCommand())
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is, and its protocol between nodes", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprint(cmd.OutOrStdout(), version.Read()) },
	}
}
