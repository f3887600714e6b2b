package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) registryCommand() *cobra.Command {
	check := c.checkCommand()
	check.Hidden = true
	looks := check.RunE
	check.RunE = func(cmd *cobra.Command, args []string) error {
		fmt.Fprintln(c.err, "wsctl registry check is wsctl check now, which looks at histories and stores too")
		return looks(cmd, args)
	}
	return noun("registry", "The buckets of license regions", []*cobra.Command{check}, []*cobra.Command{c.initRegistryCommand()})
}
