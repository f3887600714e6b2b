package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

func acceptStoreCommand(c *command.Env) *cobra.Command {
	var license string
	var dryRun bool
	var sure console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "accept DOCUMENT",
		Short: "Go on with what there is of a document of which a store has lost something",
		Long: `A store that was set back, or lost an object, holds less of a document than a
region's history stands on. The document then does not open there (1013), or is not
stored any more, and its nodes' logs say so: restore what is lost, if you can, and it
opens again. This command is for when you cannot. What the histories and the store
hold is merged and stored, and the document goes on with that; clients that have more
bring it when they come.

--dry-run only says what is lost. A document that is deleted stays deleted.`,
		Args: command.Exactly("DOCUMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			doc, err := c.Clusters.Document(ctx, args[0], license)
			if err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return accept(ctx, c, fl, doc, dryRun, &sure) })
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what is lost, and change nothing")
	sure.Register(cmd)
	return cmd
}

// loss is what a region lacks of a document, and the node that says so.
type loss struct {
	reach.NodeClient
	control.StoreAccepted
}

// accept looks in each region what is lost, and then has them go on without.
func accept(ctx context.Context, c *command.Env, fl *reach.Fleet, doc docid.Document, dryRun bool, sure *console.ConfirmFlag) error {
	nodes, err := fl.Some(ctx, nil)
	if err != nil { // a region that is not reached may have the document open
		return err
	}
	losses, err := lossesOf(ctx, nodes, doc)
	if err != nil {
		return err
	}
	if len(losses) == 0 {
		c.Done("nothing is lost of %s: the store has what the histories stand on", doc)
		return nil
	}
	var lines []string
	for _, l := range losses {
		lines = append(lines, fmt.Sprintf("%s: %s", l.StoreAccepted.Region, strings.ReplaceAll(l.Lost, "\n", "; ")))
	}
	if dryRun {
		c.Done("%s has lost something: %s", doc, strings.Join(lines, "\n"))
		return nil
	}
	if err := c.Confirm(sure, "Go on with what there is of %s? %s", doc, strings.Join(lines, "\n")); err != nil {
		return err
	}
	for _, l := range losses {
		if _, err := l.StoreAccept(ctx, l.Node, control.StoreAcceptRequest{Document: control.NewDocument(doc)}); err != nil {
			return err
		}
	}
	c.Done("%s goes on with what there is, and is stored", doc)
	return nil
}

// lossesOf asks one node of each region, which is the one that has the document open, if
// there is one.
func lossesOf(ctx context.Context, nodes []reach.NodeClient, doc docid.Document) (losses []loss, err error) {
	asked, wrong := map[docid.Region]bool{}, map[docid.Region]error{}
	for _, n := range nodes {
		if asked[n.Region] {
			continue
		}
		a, err := n.StoreAccept(ctx, n.Node, control.StoreAcceptRequest{Document: control.NewDocument(doc), DryRun: true})
		if err != nil {
			wrong[n.Region] = fmt.Errorf("node %s: %w", n.Node, err)
			continue
		}
		asked[n.Region] = true
		delete(wrong, n.Region)
		if a.Lost != "" {
			losses = append(losses, loss{n, a})
		}
	}
	for _, w := range wrong {
		err = errors.Join(err, w)
	}
	return losses, err
}
