// Command wsctl shows operators what the nodes of wsnode do, and lets them
// change it. It talks to the nodes and the registries over NATS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/relay/version"
)

// Exit codes, for scripts.
const (
	exitFailed      = 1 // what was asked for failed
	exitUsage       = 2 // a wrong flag or argument
	exitNotFound    = 3 // no such document, pin, session or node
	exitUnavailable = 4 // NATS, a registry or a node does not answer
	exitDeclined    = 5 // nothing was changed: not confirmed, or not without --force
	exitUnhealthy   = 6 // a check found something wrong
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

func failed(code int, format string, args ...any) error {
	return exitError{code, fmt.Errorf(format, args...)}
}

func wrongFlag(flag, format string, args ...any) error {
	return failed(exitUsage, "--%s: %s", flag, fmt.Sprintf(format, args...))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// cli is one run of wsctl: its streams and the flags that all commands share.
type cli struct {
	in       input
	out, err io.Writer
	reach    reachFlags
	output   string
	secrets  []string // tokens that were given: they are not printed
	started  bool     // the command and its arguments were right
}

func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	c := &cli{in: input{ctx, in}, out: out, err: errs}
	root := c.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, errWatchEnded) {
		return 0
	}
	err = c.reach.denied.explain(err)
	fmt.Fprintln(errs, "wsctl:", c.conceal(errorText(err)))
	if !c.started {
		return exitUsage
	}
	return exitCode(err)
}

// errorText says each thing once: nodes and registries are often on the same NATS,
// and both miss one that is lost.
func errorText(err error) string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// looksSecret matches tokens that wsctl was given where it expected something
// else.
var looksSecret = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+\.[\w-]*`)

// shortestSecret is shorter than any token, and longer than a word that may be a
// part of what is said.
const shortestSecret = 16

// conceal takes tokens out of a text.
func (c *cli) conceal(text string) string {
	for _, secret := range c.secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return looksSecret.ReplaceAllString(text, "…")
}

func exitCode(err error) int {
	var exit exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case isUnavailable(err):
		return exitUnavailable
	}
	return exitFailed
}

func (c *cli) rootCommand() *cobra.Command {
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
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	c.reach.register(root.PersistentFlags())
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "table, wide or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		c.started = true
		return c.check()
	}
	root.AddCommand(c.pinsCommand(), c.sessionsCommand(), c.refusalsCommand(), c.nodesCommand(), c.docsCommand(), c.regionsCommand(),
		c.checkCommand(), c.registryCommand(), c.storeCommand(), c.historyCommand(), c.tokenCommand(), c.discoverCommand(), c.traceCommand(), c.topCommand(), c.benchCommand(), c.versionCommand())
	_ = root.RegisterFlagCompletionFunc("context", cobra.FixedCompletions(contextNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

func (c *cli) check() error {
	if !slices.Contains([]string{"table", "wide", "json"}, c.output) {
		return wrongFlag("output", "%q: expected table, wide or json", c.output)
	}
	return c.reach.check()
}
