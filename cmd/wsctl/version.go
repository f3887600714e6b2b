package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/relay/version"
)

func versionCommand(c *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version wsctl is; nodes list shows those of nodes",
		Args:  command.Exactly(),
		RunE: func(*cobra.Command, []string) error {
			if c.JSON() {
				return c.Value(version.Read())
			}
			_, err := fmt.Fprint(c.Out, version.Read())
			return err
		},
	}
}
