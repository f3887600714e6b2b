// Package console is where wsctl prints and asks: tables and JSON on standard output, all
// else on standard error.
package console

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

// Console is where one run of wsctl reads and writes, and asks. Standard output gets what was
// asked for, in the format of -o, and nothing else: what is said to people goes to standard
// error, so that JSON stays JSON, and without the tokens that were given and the passwords
// of URLs.
type Console struct {
	// Static after New.
	In       *Input
	Out, Err io.Writer

	Format  string   // of -o: table, wide or json; static once the flags are read
	secrets []string // tokens that were given: those that the flags name, before anything is asked
}

// formats are those of -o.
var formats = []string{"table", "wide", "json"}

// RegisterFormat adds -o to all commands.
func (c *Console) RegisterFormat(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&c.Format, "output", "o", "table", "table, wide or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// CheckFormat refuses a format that there is none of.
func (c *Console) CheckFormat() error {
	if !slices.Contains(formats, c.Format) {
		return exit.WrongFlag("output", "%q: expected table, wide or json", c.Format)
	}
	return nil
}

// JSON reports whether JSON was asked for.
func (c *Console) JSON() bool { return c.Format == "json" }

// Wide reports whether all columns were asked for.
func (c *Console) Wide() bool { return c.Format == "wide" }

// Value prints what is no table, as JSON.
func (c *Console) Value(v any) error { return WriteJSON(c.Out, "", v, "\n") }

// ConfirmFlag is what commands that change something have.
type ConfirmFlag struct{ Yes bool }

// Register adds --yes.
func (f *ConfirmFlag) Register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.Yes, "yes", "y", false, "do it without asking")
}

// Confirm asks before something is changed. Where nobody can answer, nothing is
// changed.
func (c *Console) Confirm(f *ConfirmFlag, format string, args ...any) error {
	if f.Yes {
		return nil
	}
	fmt.Fprint(c.Err, c.Conceal(fmt.Sprintf(format, args...)), " [y/N] ")
	line, err := c.In.lines.ReadString('\n')
	switch answer := strings.ToLower(strings.TrimSpace(line)); {
	case answer == "y" || answer == "yes":
		return nil
	case err != nil && answer == "":
		fmt.Fprintln(c.Err)
		return exit.With(exit.Declined, "nothing was changed: nobody answered, use --yes")
	}
	return exit.With(exit.Declined, "nothing was changed")
}

// Input is standard input. All that is read of it goes through the one buffer: answers come
// line by line, and what is behind a line is still there for whoever reads next.
type Input struct {
	Terminal bool // somebody is to type
	lines    *bufio.Reader
}

// Read reads what no answer has taken.
func (i *Input) Read(p []byte) (int, error) { return i.lines.Read(p) }

// interruptible is an input from which Ctrl-C interrupts a read. The read itself cannot
// be ended: it goes on until the process ends, or somebody types.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	type answer struct {
		bytes []byte
		err   error
	}
	read := make(chan answer, 1)
	go func() {
		bytes := make([]byte, len(p))
		n, err := i.Reader.Read(bytes)
		read <- answer{bytes[:n], err}
	}()
	select {
	case a := <-read:
		return copy(p, a.bytes), a.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}

// Done tells what was changed, or what else is to be known.
func (c *Console) Done(format string, args ...any) {
	fmt.Fprintln(c.Err, c.Conceal(fmt.Sprintf(format, args...)))
}

// ClearScreen moves to the upper left corner of a terminal and clears it.
const ClearScreen = "\x1b[H\x1b[2J"

// IsTerminal reports whether a stream is one.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// New makes the console of a run. Reads of standard input end with ctx.
func New(ctx context.Context, in io.Reader, out, errs io.Writer) *Console {
	return &Console{In: &Input{Terminal: IsTerminal(in), lines: bufio.NewReader(interruptible{ctx, in})}, Out: out, Err: errs}
}
