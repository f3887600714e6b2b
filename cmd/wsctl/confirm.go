package main

import (
	"bufio"
	"fmt"
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

// done tells what was changed: on standard error, so that -o json stays JSON.
func (c *cli) done(format string, args ...any) {
	fmt.Fprintf(c.err, format+"\n", args...)
}
