// Package docs shows what is in live documents.
package docs

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/cmd/wsctl/pins"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/cmd/wsctl/sessions"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// documentRow is a live document on one node, as it is printed.
type documentRow struct {
	Node     docid.NodeID `json:"node"`
	Region   docid.Region `json:"region"`
	Document string       `json:"document"`
	control.DocumentRow
}

func newDocumentRow(n reach.NodeClient, d control.DocumentRow) documentRow {
	return documentRow{n.Node, n.Region, d.Document.String(), d}
}

var documentColumns = []console.Column[documentRow]{
	console.Shown("DOCUMENT", func(r documentRow) string { return r.Document }),
	console.Shown("NODE", func(r documentRow) string { return string(r.Node) }),
	console.Shown("SESSIONS", func(r documentRow) string { return console.Count(r.Sessions) }),
	console.Shown("PEERS", func(r documentRow) string { return console.Count(r.Peers) }),
	console.Shown("SIZE KIB", func(r documentRow) string { return console.KiB(r.Bytes) }),
	console.Shown("STRUCTS", func(r documentRow) string { return console.Count(r.Structs) }),
	console.Shown("EDITS", func(r documentRow) string { return console.Count(r.Edits) }),
	console.Shown("EDITS/S", func(r documentRow) string { return fmt.Sprintf("%.1f", r.Rate) }),
	console.Shown("UNACKED KIB", func(r documentRow) string { return console.KiB(r.Unacked) }),
	console.Wide("STATE", func(r documentRow) string { return r.LoadState }),
	console.Wide("WRITERS", func(r documentRow) string { return console.Count(r.Writers) }),
	console.Wide("PENDING", func(r documentRow) string { return console.Count(r.Pending) }),
	console.Wide("MESSAGES", func(r documentRow) string { return console.Count(r.Messages) }),
	console.Wide("EPOCH", func(r documentRow) string { return r.Epoch }),
}

// Command makes the noun docs.
func Command(c *command.Env) *cobra.Command {
	return command.Noun("docs", "What is in live documents", []*cobra.Command{
		listDocsCommand(c), getDocCommand(c), statDocCommand(c), exportDocCommand(c),
	}, []*cobra.Command{storeDocsCommand(c)})
}

func listDocsCommand(c *command.Env) *cobra.Command {
	var f sessions.Flags
	var w command.WatchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the documents that nodes have open, node by node",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.Filter()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return command.ListNodes(ctx, c, &w, f.Nodes, documentColumns, func(nodes []reach.NodeClient) iter.Seq2[documentRow, error] {
				return reach.Each(nodes, func(n reach.NodeClient) iter.Seq2[control.DocumentRow, error] {
					return n.Documents(ctx, n.Node, filter)
				}, newDocumentRow)
			})
		},
	}
	f.Register(c, cmd)
	_ = cmd.Flags().MarkHidden("remote") // clients have addresses, documents have not
	w.Register(cmd)
	return cmd
}

func storeDocsCommand(c *command.Env) *cobra.Command {
	var sure console.ConfirmFlag
	cmd := docCommand(c, "store", "Have the store keep a live document now", func(ctx context.Context, f *found) error {
		if len(f.stats) == 0 {
			return exit.With(exit.NotFound, "no node that is reached has it open: what is not live is stored already, or owed")
		}
		n, doc := f.nodes[0], f.stats[0].Document
		if err := c.Confirm(&sure, "Have node %s store %s now?", n.Node, doc); err != nil {
			return err
		}
		kept, err := n.Save(ctx, n.Node, doc)
		if err != nil {
			return err
		}
		if c.JSON() {
			return c.Value(kept)
		}
		c.Done("%s is stored, version %s", doc, kept.Version)
		return nil
	})
	sure.Register(cmd)
	return cmd
}

func getDocCommand(c *command.Env) *cobra.Command {
	return docCommand(c, "get", "Show where a document is and who has it open", func(_ context.Context, f *found) error {
		if c.JSON() {
			return c.Value(struct {
				Pin    *pins.Row              `json:"pin"`
				Nodes  []control.DocumentStat `json:"nodes"`
				Stored *control.Stored        `json:"stored"`
			}{f.pin, append([]control.DocumentStat{}, f.stats...), f.stored})
		}
		if f.pin != nil {
			if err := console.PrintOne(c.Console, pins.Columns, *f.pin); err != nil {
				return err
			}
			fmt.Fprintln(c.Out)
		}
		return console.PrintRows(c.Console, documentColumns, func(yield func(documentRow, error) bool) {
			for i, stat := range f.stats {
				if !yield(newDocumentRow(f.nodes[i], stat.DocumentRow), nil) {
					return
				}
			}
		})
	})
}

func exportDocCommand(c *command.Env) *cobra.Command {
	var file string
	var force bool
	cmd := docCommand(c, "export", "Write a document to a file that Y.applyUpdate reads", func(ctx context.Context, f *found) error {
		if len(f.stats) == 0 && f.pin.State == kvpin.Free.String() {
			return exit.With(exit.NotFound, "%s is not live: wsctl store get writes what is stored of it", f.stored.Document)
		}
		if len(f.stats) == 0 {
			return f.outOfReach()
		}
		// The node that has most: others may be behind by what is under way.
		best := 0
		for i, s := range f.stats {
			if s.Bytes > f.stats[best].Bytes {
				best = i
			}
		}
		n, doc := f.nodes[best], f.stats[best].Document
		fetch := func(w io.Writer) error {
			return n.Export(ctx, n.Node, doc, func(part []byte) error { _, err := w.Write(part); return err })
		}
		if file == "-" {
			return fetch(c.Out)
		}
		size, err := foreign.WriteFile(file, force, fetch)
		if err == nil {
			c.Done("wrote %s, %s, from node %s", file, console.Bytes(size), n.Node)
		}
		return err
	})
	cmd.Flags().StringVarP(&file, "file", "f", "-", "file to write; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}
