package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

func (c *cli) acceptStoreCommand() *cobra.Command {
	var license string
	var dryRun bool
	var sure confirmFlag
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
		Args: exactly("DOCUMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			doc, err := c.resolveDocument(ctx, args[0], license)
			if err != nil {
				return err
			}
			return c.withFleet(func(fl *fleet) error { return c.accept(ctx, fl, doc, dryRun, &sure) })
		},
	}
	c.licenseFlag(cmd, &license)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what is lost, and change nothing")
	sure.register(cmd)
	return cmd
}

// resolveDocument reads a document, and finds its license region if it is given without.
func (c *cli) resolveDocument(ctx context.Context, arg, license string) (d docid.Document, err error) {
	if d, err = parseDocument(arg); err != nil {
		return d, err
	}
	if d.License != "" {
		return d, nil
	}
	if license != "" {
		d.License = docid.LicenseRegion(license)
		return d, nil
	}
	err = c.withRegistries(ctx, func(r *registries) error {
		d, err = r.resolve(ctx, d, "")
		return err
	})
	return d, err
}

// loss is what a region lacks of a document, and the node that says so.
type loss struct {
	node
	control.StoreAccepted
}

// accept looks in each region what is lost, and then has them go on without.
func (c *cli) accept(ctx context.Context, fl *fleet, doc docid.Document, dryRun bool, sure *confirmFlag) error {
	nodes, err := fl.some(ctx, nil)
	if err != nil { // a region that is not reached may have the document open
		return err
	}
	losses, err := lossesOf(ctx, nodes, doc)
	if err != nil {
		return err
	}
	if len(losses) == 0 {
		c.done("nothing is lost of %s: the store has what the histories stand on", doc)
		return nil
	}
	var lines []string
	for _, l := range losses {
		lines = append(lines, fmt.Sprintf("%s: %s", l.StoreAccepted.Region, strings.ReplaceAll(l.Lost, "\n", "; ")))
	}
	if dryRun {
		c.done("%s has lost something: %s", doc, strings.Join(lines, "\n"))
		return nil
	}
	if err := c.confirm(sure, "Go on with what there is of %s? %s", doc, strings.Join(lines, "\n")); err != nil {
		return err
	}
	for _, l := range losses {
		if _, err := l.StoreAccept(ctx, l.Node, control.StoreAcceptRequest{Document: control.NewDocument(doc)}); err != nil {
			return err
		}
	}
	c.done("%s goes on with what there is, and is stored", doc)
	return nil
}

// lossesOf asks one node of each region, which is the one that has the document open, if
// there is one.
func lossesOf(ctx context.Context, nodes []node, doc docid.Document) (losses []loss, err error) {
	asked, wrong := map[string]bool{}, map[string]error{}
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
