package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

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

var movedColumns = []column[movedRow]{
	{"DOCUMENT", false, func(r movedRow) string { return r.Document }},
	{"FROM", false, func(r movedRow) string { return string(r.From) }},
	{"TO", false, func(r movedRow) string { return string(r.To) }},
	{"TOOK MS", false, func(r movedRow) string { return fmt.Sprintf("%.0f", r.TookMS) }},
	{"READ-ONLY MS", false, func(r movedRow) string { return fmt.Sprintf("%.0f", r.StoppedMS) }},
}

func (c *cli) movePinCommand() *cobra.Command {
	var license string
	var yes confirmFlag
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
		Args:              exactly("DOCUMENT", "REGION"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			to := docid.Region(args[1])
			return c.withPin(cmd.Context(), args[0], license, func(_ *registries, info kvpin.PinInfo, unreadable error) error {
				switch {
				case unreadable != nil:
					return unreadable
				case info.State == kvpin.Free:
					return failed(exitNotFound, "nobody has %s open: it lives where its next user opens it", info.Document)
				case info.Pin.Region == to:
					c.done("%s lives in %s already", info.Document, to)
					return nil
				}
				if err := c.confirm(&yes, "Move %s from %s to %s?", info.Document, info.Pin.Region, to); err != nil {
					return err
				}
				return c.withFleet(func(fl *fleet) error { return c.movePin(cmd.Context(), fl, info, to) })
			})
		},
	}
	c.licenseFlag(cmd, &license)
	yes.register(cmd)
	return cmd
}

func (c *cli) movePin(ctx context.Context, fl *fleet, info kvpin.PinInfo, to docid.Region) error {
	all, err := fl.nodes(ctx)
	n, found := mover(all, info, 0)
	if !found {
		return errors.Join(failed(exitUnavailable, "no node of %s answers: name its NATS by --nats-url", info.Pin.Region), err)
	}
	moved, err := n.Move(ctx, n.Node, control.MoveRequest{Document: control.NewDocument(info.Document), To: to})
	if err != nil {
		return moveRefused(err)
	}
	return printOne(c, movedColumns, movedRow{info.Document.String(), info.Pin.Region, to, moved})
}

// mover is the node that is asked to move a document: one that has it open, or any of its
// region, by turns.
func mover(all []node, info kvpin.PinInfo, turn int) (n node, found bool) {
	var region []node
	for _, n := range all {
		if n.Region != string(info.Pin.Region) {
			continue
		}
		if slices.ContainsFunc(info.Pin.Holders, func(h kvpin.Holder) bool { return string(h.Node) == n.Node }) {
			return n, true
		}
		region = append(region, n)
	}
	if len(region) == 0 {
		return node{}, false
	}
	return region[turn%len(region)], true
}

// moveRefused gives the refusals of nodes their exit codes.
func moveRefused(err error) error {
	var refused *control.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case control.CodeNotFound, control.CodeGone:
		return exitError{exitNotFound, err}
	case control.CodeWrong, control.CodeConflict:
		return exitError{exitDeclined, err}
	}
	return err
}
