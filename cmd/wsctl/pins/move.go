package pins

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// movedRow is a document that was moved.
type movedRow struct {
	Document string       `json:"document"`
	From     docid.Region `json:"from"`
	To       docid.Region `json:"to"`
	control.Moved
}

var movedColumns = []console.Column[movedRow]{
	console.Shown("DOCUMENT", func(r movedRow) string { return r.Document }),
	console.Shown("FROM", func(r movedRow) string { return string(r.From) }),
	console.Shown("TO", func(r movedRow) string { return string(r.To) }),
	console.Shown("TOOK MS", func(r movedRow) string { return fmt.Sprintf("%.0f", r.TookMS) }),
	console.Shown("READ-ONLY MS", func(r movedRow) string { return fmt.Sprintf("%.0f", r.StoppedMS) }),
}

func movePinCommand(c *command.Env) *cobra.Command {
	var license string
	var yes console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "move DOCUMENT REGION",
		Short: "Move a live document to another region",
		Long: `Move a document that is open to another region, through its store, which both
regions must have. A node of its region does it: all nodes that have the document
open stop taking edits, it is stored, and then it lives in the other region, where
its clients are sent or carried. For them it is read-only for about as long as a
store takes, and offline until they have connected again. Edits that they make
meanwhile go along with them.

If anything fails, the document stays and goes on. Of a document that nobody has
open there is nothing to move: it lives where its next user opens it.`,
		Args:              command.Exactly("DOCUMENT", "REGION"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := docid.Region(args[1])
			return withPin(cmd.Context(), c, args[0], license, func(_ *reach.Registries, info kvpin.PinInfo, unreadable error) error {
				switch {
				case unreadable != nil:
					return unreadable
				case info.State == kvpin.Free:
					return exit.With(exit.NotFound, "nobody has %s open: it lives where its next user opens it", info.Document)
				case info.Pin.Region == to:
					c.Done("%s lives in %s already", info.Document, to)
					return nil
				}
				if err := c.Confirm(&yes, "Move %s from %s to %s?", info.Document, info.Pin.Region, to); err != nil {
					return err
				}
				return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return movePin(cmd.Context(), c, fl, info, to) })
			})
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
	yes.Register(cmd)
	return cmd
}

func movePin(ctx context.Context, c *command.Env, fl *reach.Fleet, info kvpin.PinInfo, to docid.Region) error {
	all, err := fl.Nodes(ctx)
	n, found := reach.Mover(all, info, 0)
	if !found {
		return errors.Join(exit.With(exit.Unavailable, "no node of %s answers: name its NATS by --nats-url", info.Pin.Region), err)
	}
	moved, err := n.Move(ctx, n.Node, control.MoveRequest{Document: control.NewDocument(info.Document), To: to})
	if err != nil {
		return moveRefused(err)
	}
	return console.PrintOne(c.Console, movedColumns, movedRow{info.Document.String(), info.Pin.Region, to, moved})
}

// moveRefused gives the refusals of nodes their exit codes.
func moveRefused(err error) error {
	var refused *control.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case control.CodeNotFound, control.CodeGone:
		return exit.As(exit.NotFound, err)
	case control.CodeWrong, control.CodeConflict:
		return exit.As(exit.Declined, err)
	}
	return err
}
