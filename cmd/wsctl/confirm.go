package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// confirmFlag is what commands that change something have.
type confirmFlag struct{ yes bool }

func (f *confirmFlag) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do it without asking")
}

// confirm asks before something is changed. Where nobody can answer, nothing is
// changed.
func (c *cli) confirm(f *confirmFlag, format string, args ...any) error {
	if f.yes {
		return nil
	}
	fmt.Fprintf(c.err, format+" [y/N] ", args...)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	switch answer := strings.ToLower(strings.TrimSpace(line)); {
	case answer == "y" || answer == "yes":
		return nil
	case err != nil && answer == "":
		fmt.Fprintln(c.err)
		return failed(exitDeclined, "nothing was changed: nobody answered, use --yes")
	}
	return failed(exitDeclined, "nothing was changed")
}

// input is standard input, from which Ctrl-C interrupts a read. The read itself cannot
// be ended: it goes on until the process ends, or somebody types.
type input struct {
	ctx context.Context
	io.Reader
}

func (i input) Read(p []byte) (int, error) {
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

// done tells what was changed: on standard error, so that -o json stays JSON.
func (c *cli) done(format string, args ...any) {
	fmt.Fprintf(c.err, format+"\n", args...)
}
