package store

import (
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
)

func dropStoreCommand(c *command.Env) *cobra.Command {
	var f storeFlags
	var sure console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "drop-deleted DOCUMENT",
		Short: "Drop the deleted content that a stored document keeps",
		Long: `Take the content of what users have deleted out of a stored document that keeps it
(keep-deleted in the file of --apps). Snapshots of older states show less then, for
good. Nobody may have the document open. From then on it keeps what is deleted only
if its app's setting says so: without this command it goes on keeping it, whatever
the setting. Former versions in the store, backups and browsers still have it.`,
		Args: command.Exactly("DOCUMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				n, d, err := storedDocument(cmd.Context(), fl, &f, args[0])
				if err != nil {
					return err
				}
				if err := c.Confirm(&sure, "Drop the deleted content of %s? Snapshots of its older states cannot be restored then.", d); err != nil {
					return err
				}
				result, err := n.StoreDrop(cmd.Context(), n.Node, d)
				if err != nil {
					return whatInstead(err, d)
				}
				return printResult(c.Console, d, result, false)
			})
		},
	}
	f.register(c, cmd)
	sure.Register(cmd)
	return cmd
}
