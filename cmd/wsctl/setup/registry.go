package setup

import (
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/check"
	"github.com/wsnode/wsnode/cmd/wsctl/command"
)

// RegistryCommand makes the noun about buckets.
func RegistryCommand(c *command.Env) *cobra.Command {
	check := check.Command(c)
	check.Hidden = true
	looks := check.RunE
	check.RunE = func(cmd *cobra.Command, args []string) error {
		c.Done("wsctl registry check is wsctl check now, which looks at histories and stores too")
		return looks(cmd, args)
	}
	return command.Noun("registry", "The buckets of license regions", []*cobra.Command{check}, []*cobra.Command{initRegistryCommand(c)})
}
