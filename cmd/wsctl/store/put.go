package store

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/relay/control"
)

// putFlags say how a document is put into a store.
type putFlags struct{ create, undelete, dryRun bool }

func (f *putFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.create, "create", false, "only if nothing is stored of it")
	cmd.Flags().BoolVar(&f.undelete, "undelete", false, "also if it was deleted")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "change nothing, say what would be")
}

func (f *putFlags) request(d control.Document) control.StorePutRequest {
	return control.StorePutRequest{Document: d, Create: f.create, Undelete: f.undelete, DryRun: f.dryRun}
}

func putStoreCommand(c *command.Env) *cobra.Command {
	var f putFlags
	var sure console.ConfirmFlag
	cmd := storeDocCommand(c, "put DOCUMENT FILE", "Merge a Yjs update into what is stored of a document", []string{"DOCUMENT", "FILE"},
		func(cmd *cobra.Command, n storeNode, d control.Document, args []string) error {
			update, err := readUpdate(c.Console, args[0])
			if err != nil {
				return err
			}
			if !f.dryRun {
				if err := c.Confirm(&sure, "Merge %s into the stored %s?", console.Bytes(len(update)), d); err != nil {
					return err
				}
			}
			p := c.Progress("sent", d.String())
			result, err := n.StorePut(cmd.Context(), n.Node, f.request(d), update, func(done int) { p.Bytes(done, len(update)) })
			p.End()
			if err != nil {
				return whatInstead(err, d)
			}
			return printResult(c.Console, d, result, f.dryRun)
		})
	cmd.Long = `Merge a Yjs V1 update, which Y.encodeStateAsUpdate writes, into what is stored of
a document. The file - is standard input. What is there stays: a document is
never replaced, since the clients that have its former state would bring it back.

A document that is live is refused: give the update to one of its clients, or
wait until its users have left and the grace period is over.`
	f.register(cmd)
	sure.Register(cmd)
	return cmd
}

func readUpdate(c *console.Console, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.In)
	}
	return os.ReadFile(file)
}

// whatInstead says what to do about a document that is live.
func whatInstead(err error, d control.Document) error {
	var refused *control.Error
	if errors.As(err, &refused) && refused.Code == control.CodeConflict {
		return exit.With(exit.Declined, "nothing was changed: %w; if it is live, have a client apply the update, or wait until its users have left (wsctl pins watch %s)", err, d)
	}
	if errors.As(err, &refused) && refused.Code == control.CodeGone {
		return exit.With(exit.Declined, "nothing was changed: %w; --undelete brings it back", err)
	}
	return err
}

func printResult(c *console.Console, d control.Document, r control.StoreResult, dry bool) error {
	if c.JSON() {
		return c.Value(struct {
			Document string `json:"document"`
			control.StoreResult
			DryRun bool `json:"dryRun,omitempty"`
		}{d.String(), r, dry})
	}
	would := ""
	if dry {
		would = "would be "
	}
	c.Done("%s: %s%s, %s", d, would, r.Outcome, console.Bytes(int(r.Size)))
	return nil
}
