package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/relay/version"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version wsctl is; nodes list shows those of nodes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.output == "json" {
				return writeJSON(c.out, "", version.Read(), "\n")
			}
			_, err := fmt.Fprint(c.out, version.Read())
			return err
		},
	}
}
