// Package docs shows what is in live documents.
package docs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"

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
	Node     string `json:"node"`
	Region   string `json:"region"`
	Document string `json:"document"`
	control.DocumentRow
}

func newDocumentRow(n reach.NodeClient, d control.DocumentRow) documentRow {
	return documentRow{n.Node, n.Region, d.Document.String(), d}
}

var documentColumns = []console.Column[documentRow]{
	console.Shown("DOCUMENT", func(r documentRow) string { return r.Document }),
	console.Shown("NODE", func(r documentRow) string { return r.Node }),
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

// found is a document, where it is pinned and what the nodes that have it say.
type found struct {
	pin   *pins.Row // nil: not known
	stats []control.DocumentStat
	nodes []reach.NodeClient // of stats

	stored *control.Stored // what the store has of it; nil: there is none, or it does not answer
}

// outOfReach is the error of a document that lives where no node is reached.
func (f *found) outOfReach() error {
	return exit.With(exit.Unavailable, "%s is %s in %s, whose nodes are not reached: name its NATS too", f.pin.Document, f.pin.State, f.pin.Region)
}

// findDocument looks a document up in the registry and on the nodes that have it.
// Either is enough: the registry may be away, and the nodes of the pin's region
// out of reach.
func findDocument(ctx context.Context, c *command.Env, fl *reach.Fleet, arg, license string) (*found, error) {
	doc, err := reach.ParseDocument(arg)
	if err != nil {
		return nil, err
	}
	var f found
	pinErr := c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		resolved, err := r.Resolve(ctx, doc, license)
		if err != nil {
			return err
		}
		doc = resolved
		info, err := r.Pin(ctx, doc)
		if err == nil {
			row := pins.NewRow(info)
			f.pin = &row
		}
		return err
	})
	if pinErr != nil && exit.Code(pinErr) == exit.Usage {
		return nil, pinErr
	}
	if doc.License == "" {
		doc.License = docid.LicenseRegion(license)
	}
	if doc.License == "" {
		return nil, pinErr
	}
	nodes, lost := fl.Nodes(ctx)
	type answer struct {
		reach.NodeClient
		stat control.DocumentStat
	}
	answers, err := reach.Gather(nodes, func(n reach.NodeClient) (answer, error) {
		stat, err := n.Stat(ctx, n.Node, control.NewDocument(doc))
		if reach.IsNotFound(err) {
			return answer{}, nil
		}
		return answer{n, stat}, err
	})
	for _, a := range answers {
		if a.stat.Node != "" {
			f.stats, f.nodes = append(f.stats, a.stat), append(f.nodes, a.NodeClient)
		}
	}
	f.stored = storedOf(ctx, nodes, doc)
	if err = errors.Join(pinErr, lost, err); err != nil && len(f.stats) > 0 {
		c.Done("wsctl: not all is known of %s: %s", doc, exit.Text(err))
		return &f, nil
	}
	if err == nil && len(f.stats) == 0 && f.pin.State == kvpin.Free.String() && !storedThere(f.stored) {
		err = exit.With(exit.NotFound, "%s is not pinned, and no node has it open", doc)
	}
	return &f, err
}

// storedOf asks a node that has the store what it has of a document.
func storedOf(ctx context.Context, nodes []reach.NodeClient, doc docid.Document) *control.Stored {
	for _, n := range nodes {
		states, err := n.Stores(ctx, n.Node, false)
		has := func(s control.StoreState) bool { return s.License == doc.License && s.State == control.StoreOK }
		if err != nil || !slices.ContainsFunc(states, has) {
			continue
		}
		if stored, err := n.Stored(ctx, n.Node, control.NewDocument(doc)); err == nil {
			return &stored
		}
	}
	return nil
}

func storedThere(s *control.Stored) bool { return s != nil && s.State != control.StoredAbsent }

// keptText says whether the store has all that a node has.
func keptText(k *control.Kept) string {
	switch {
	case k == nil:
		return ""
	case k.Clean:
		return ", clean"
	}
	return ", with edits that are not stored yet"
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

// storedText says what the store has of a document.
func storedText(s *control.Stored) string {
	switch {
	case s == nil:
		return "no store, or it does not answer"
	case s.State == control.StoredBody:
		text := fmt.Sprintf("stored %s ago, version %s, %s", console.Ago(s.Time), s.Version, console.Bytes(s.Size))
		if s.KeepDeleted {
			text += ", keeps deleted content"
		}
		return text
	case s.State == control.StoredDeleted:
		return fmt.Sprintf("deleted %s ago, generation %s", console.Ago(s.Time), s.Generation)
	case s.State == control.StoredAbsent:
		return "not yet"
	}
	return s.State + ": " + s.Detail
}

// docCommand makes a verb about one document.
func docCommand(c *command.Env, use, short string, run func(ctx context.Context, f *found) error) *cobra.Command {
	var license string
	cmd := &cobra.Command{
		Use:               use + " DOCUMENT",
		Short:             short,
		Args:              command.Exactly("DOCUMENT"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				f, err := findDocument(cmd.Context(), c, fl, args[0], license)
				if err != nil {
					return err
				}
				return run(cmd.Context(), f)
			})
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
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

// statDocCommand shows a document as each node that has it open knows it.
func statDocCommand(c *command.Env) *cobra.Command {
	return docCommand(c, "stat", "Show a document's size, state vector, history and time to durable", func(_ context.Context, f *found) error {
		if len(f.stats) == 0 && f.pin.State != kvpin.Free.String() {
			return f.outOfReach()
		}
		if c.JSON() {
			rows := make([]statRow, len(f.stats))
			for i, stat := range f.stats {
				rows[i] = statRow{stat, f.stored}
			}
			if len(f.stats) == 0 {
				return c.Value([]*control.Stored{f.stored})
			}
			return c.Value(rows)
		}
		if len(f.stats) == 0 {
			fmt.Fprintf(c.Out, "document   %s\nlive       nowhere\nstored     %s\n", f.stored.Document, storedText(f.stored))
			return nil
		}
		for i, stat := range f.stats {
			if i > 0 {
				fmt.Fprintln(c.Out)
			}
			if err := printStat(c.Out, stat, f.stored, c.Wide()); err != nil {
				return err
			}
		}
		return nil
	})
}

// shownClocks is how many entries of a state vector a table shows.
const shownClocks = 8

// statRow is what one node and the store know of a document.
type statRow struct {
	control.DocumentStat
	Stored *control.Stored `json:"stored"`
}

func printStat(w io.Writer, s control.DocumentStat, stored *control.Stored, all bool) error {
	t := tabwriter.NewWriter(w, 0, 0, console.ColumnGap, ' ', 0)
	for _, line := range [][2]string{
		{"document", s.Document.String()}, {"node", s.Node}, {"epoch", s.Epoch},
		{"sessions", fmt.Sprintf("%d here, %s, %s elsewhere", s.Sessions, console.Plural(s.Clients, "awareness client"), console.Plural(s.Peers, "node"))},
		{"size", fmt.Sprintf("%s, %s, %s, %d pending", console.Bytes(s.Bytes), console.Plural(s.Structs, "struct"), console.Plural(s.Writers, "writer"), s.Pending)},
		{"edits", fmt.Sprintf("%d from clients of this node, %.1f/s", s.Edits, s.Rate)},
		{"state vector", stateVector(s.StateVector, all)},
		{"history", fmt.Sprintf("%s, %s, up to sequence %d, read in %.1fms", console.Plural(s.History.Messages, "message"), console.Bytes(s.History.Bytes), s.History.Last, s.History.ReadMS)},
		{"durable", durable(s)},
		{"stored", storedText(stored) + keptText(s.Kept)},
		{"subject", s.History.Subject},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	return t.Flush()
}

func durable(s control.DocumentStat) string {
	last := "nothing appended yet"
	if s.DurableMS > 0 {
		last = fmt.Sprintf("the last append took %.1fms", s.DurableMS)
	}
	if s.UnsavedMS > 0 {
		return fmt.Sprintf("%s, %s not acknowledged, the oldest for %.1fs", last, console.Bytes(s.Unacked), s.UnsavedMS/1000)
	}
	return fmt.Sprintf("%s, %s not acknowledged", last, console.Bytes(s.Unacked))
}

// stateVector spells a state vector, the busiest writers first.
func stateVector(clocks []control.Clock, all bool) string {
	sorted := slices.Clone(clocks)
	slices.SortFunc(sorted, func(a, b control.Clock) int {
		return cmp.Or(cmp.Compare(b.Clock, a.Clock), cmp.Compare(a.Client, b.Client))
	})
	more := ""
	if len(sorted) > shownClocks && !all {
		more = fmt.Sprintf(" and %d more", len(sorted)-shownClocks)
		sorted = sorted[:shownClocks]
	}
	words := make([]string, len(sorted))
	for i, c := range sorted {
		words[i] = fmt.Sprintf("%d:%d", c.Client, c.Clock)
	}
	return strings.Join(words, " ") + more
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
