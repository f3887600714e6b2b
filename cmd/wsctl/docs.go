package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

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

func newDocumentRow(n node, d control.DocumentRow) documentRow {
	return documentRow{n.Node, n.Region, d.Document.String(), d}
}

var documentColumns = []column[documentRow]{
	{"DOCUMENT", false, func(r documentRow) string { return r.Document }},
	{"NODE", false, func(r documentRow) string { return r.Node }},
	{"SESSIONS", false, func(r documentRow) string { return count(r.Sessions) }},
	{"PEERS", false, func(r documentRow) string { return count(r.Peers) }},
	{"SIZE KIB", false, func(r documentRow) string { return kib(r.Bytes) }},
	{"STRUCTS", false, func(r documentRow) string { return count(r.Structs) }},
	{"EDITS", false, func(r documentRow) string { return count(r.Edits) }},
	{"EDITS/S", false, func(r documentRow) string { return fmt.Sprintf("%.1f", r.Rate) }},
	{"UNACKED KIB", false, func(r documentRow) string { return kib(r.Unacked) }},
	{"STATE", true, func(r documentRow) string { return r.LoadState }},
	{"WRITERS", true, func(r documentRow) string { return count(r.Writers) }},
	{"PENDING", true, func(r documentRow) string { return count(r.Pending) }},
	{"MESSAGES", true, func(r documentRow) string { return count(r.Messages) }},
	{"EPOCH", true, func(r documentRow) string { return r.Epoch }},
}

func (c *cli) docsCommand() *cobra.Command {
	return noun("docs", "What is in live documents", []*cobra.Command{
		c.listDocsCommand(), c.getDocCommand(), c.statDocCommand(), c.exportDocCommand(),
	}, []*cobra.Command{c.storeDocsCommand()})
}

func (c *cli) listDocsCommand() *cobra.Command {
	var f sessionFlags
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the documents that nodes have open, node by node",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return listNodes(ctx, c, &w, f.nodes, documentColumns, func(nodes []node) iter.Seq2[documentRow, error] {
				return each(nodes, func(n node) iter.Seq2[control.DocumentRow, error] { return n.Documents(ctx, n.Node, filter) }, newDocumentRow)
			})
		},
	}
	f.register(c, cmd)
	_ = cmd.Flags().MarkHidden("remote") // clients have addresses, documents have not
	w.register(cmd)
	return cmd
}

// found is a document, where it is pinned and what the nodes that have it say.
type found struct {
	pin   *pinRow // nil: not known
	stats []control.DocumentStat
	nodes []node // of stats

	stored *control.Stored // what the store has of it; nil: there is none, or it does not answer
}

// findDocument looks a document up in the registry and on the nodes that have it.
// Either is enough: the registry may be away, and the nodes of the pin's region
// out of reach.
func (c *cli) findDocument(ctx context.Context, fl *fleet, arg, license string) (*found, error) {
	doc, err := parseDocument(arg)
	if err != nil {
		return nil, err
	}
	var f found
	pinErr := c.withRegistries(ctx, func(r *registries) error {
		resolved, err := r.resolve(ctx, doc, license)
		if err != nil {
			return err
		}
		doc = resolved
		info, err := r.pin(ctx, doc)
		if err == nil {
			row := newPinRow(info)
			f.pin = &row
		}
		return err
	})
	if pinErr != nil && exitCode(pinErr) == exitUsage {
		return nil, pinErr
	}
	if doc.License == "" {
		doc.License = docid.LicenseRegion(license)
	}
	if doc.License == "" {
		return nil, pinErr
	}
	nodes, lost := fl.nodes(ctx)
	type answer struct {
		node
		stat control.DocumentStat
	}
	answers, err := gather(nodes, func(n node) (answer, error) {
		stat, err := n.Stat(ctx, n.Node, control.NewDocument(doc))
		if notFound(err) {
			return answer{}, nil
		}
		return answer{n, stat}, err
	})
	for _, a := range answers {
		if a.stat.Node != "" {
			f.stats, f.nodes = append(f.stats, a.stat), append(f.nodes, a.node)
		}
	}
	f.stored = storedOf(ctx, nodes, doc)
	if err = errors.Join(pinErr, lost, err); err != nil && len(f.stats) > 0 {
		c.done("wsctl: not all is known of %s: %s", doc, errorText(err))
		return &f, nil
	}
	if err == nil && len(f.stats) == 0 && f.pin.State == kvpin.Free.String() && !storedThere(f.stored) {
		err = failed(exitNotFound, "%s is not pinned, and no node has it open", doc)
	}
	return &f, err
}

// storedOf asks a node that has the store what it has of a document.
func storedOf(ctx context.Context, nodes []node, doc docid.Document) *control.Stored {
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

func (c *cli) storeDocsCommand() *cobra.Command {
	var sure confirmFlag
	cmd := c.docCommand("store", "Have the store keep a live document now", func(ctx context.Context, f *found) error {
		if len(f.stats) == 0 {
			return failed(exitNotFound, "no node that is reached has it open: what is not live is stored already, or owed")
		}
		n, doc := f.nodes[0], f.stats[0].Document
		if err := c.confirm(&sure, "Have node %s store %s now?", n.Node, doc); err != nil {
			return err
		}
		kept, err := n.Save(ctx, n.Node, doc)
		if err != nil {
			return err
		}
		if c.output == "json" {
			return writeJSON(c.out, "", kept, "\n")
		}
		c.done("%s is stored, version %s", doc, kept.Version)
		return nil
	})
	sure.register(cmd)
	return cmd
}

// storedText says what the store has of a document.
func storedText(s *control.Stored) string {
	switch {
	case s == nil:
		return "no store, or it does not answer"
	case s.State == control.StoredBody:
		text := fmt.Sprintf("stored %s ago, version %s, %s", ago(s.Time), s.Version, bytesText(s.Size))
		if s.KeepDeleted {
			text += ", keeps deleted content"
		}
		return text
	case s.State == control.StoredDeleted:
		return fmt.Sprintf("deleted %s ago, generation %s", ago(s.Time), s.Generation)
	case s.State == control.StoredAbsent:
		return "not yet"
	}
	return s.State + ": " + s.Detail
}

// docCommand makes a verb about one document.
func (c *cli) docCommand(use, short string, run func(ctx context.Context, f *found) error) *cobra.Command {
	var license string
	cmd := &cobra.Command{
		Use:               use + " DOCUMENT",
		Short:             short,
		Args:              exactly("DOCUMENT"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFleet(func(fl *fleet) error {
				f, err := c.findDocument(cmd.Context(), fl, args[0], license)
				if err != nil {
					return err
				}
				return run(cmd.Context(), f)
			})
		},
	}
	c.licenseFlag(cmd, &license)
	return cmd
}

func (c *cli) getDocCommand() *cobra.Command {
	return c.docCommand("get", "Show where a document is and who has it open", func(_ context.Context, f *found) error {
		if c.output == "json" {
			return writeJSON(c.out, "", struct {
				Pin    *pinRow                `json:"pin"`
				Nodes  []control.DocumentStat `json:"nodes"`
				Stored *control.Stored        `json:"stored"`
			}{f.pin, append([]control.DocumentStat{}, f.stats...), f.stored}, "\n")
		}
		if f.pin != nil {
			if err := printOne(c, pinColumns, *f.pin); err != nil {
				return err
			}
			fmt.Fprintln(c.out)
		}
		return printRows(c, documentColumns, func(yield func(documentRow, error) bool) {
			for i, stat := range f.stats {
				if !yield(newDocumentRow(f.nodes[i], stat.DocumentRow), nil) {
					return
				}
			}
		})
	})
}

// statDocCommand shows a document as each node that has it open knows it.
func (c *cli) statDocCommand() *cobra.Command {
	return c.docCommand("stat", "Show a document's size, state vector, history and time to durable", func(_ context.Context, f *found) error {
		if len(f.stats) == 0 && f.pin.State != kvpin.Free.String() {
			return failed(exitUnavailable, "%s is %s in %s, whose nodes are not reached: name its NATS too", f.pin.Document, f.pin.State, f.pin.Region)
		}
		if c.output == "json" {
			rows := make([]statRow, len(f.stats))
			for i, stat := range f.stats {
				rows[i] = statRow{stat, f.stored}
			}
			if len(f.stats) == 0 {
				return writeJSON(c.out, "", []*control.Stored{f.stored}, "\n")
			}
			return writeJSON(c.out, "", rows, "\n")
		}
		if len(f.stats) == 0 {
			fmt.Fprintf(c.out, "document   %s\nlive       nowhere\nstored     %s\n", f.stored.Document, storedText(f.stored))
			return nil
		}
		for i, stat := range f.stats {
			if i > 0 {
				fmt.Fprintln(c.out)
			}
			if err := printStat(c.out, stat, f.stored, c.output == "wide"); err != nil {
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
	t := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, line := range [][2]string{
		{"document", s.Document.String()}, {"node", s.Node}, {"epoch", s.Epoch},
		{"sessions", fmt.Sprintf("%d here, %s, %s elsewhere", s.Sessions, plural(s.Clients, "awareness client"), plural(s.Peers, "node"))},
		{"size", fmt.Sprintf("%s, %s, %s, %d pending", bytesText(s.Bytes), plural(s.Structs, "struct"), plural(s.Writers, "writer"), s.Pending)},
		{"edits", fmt.Sprintf("%d from clients of this node, %.1f/s", s.Edits, s.Rate)},
		{"state vector", stateVector(s.StateVector, all)},
		{"history", fmt.Sprintf("%s, %s, up to sequence %d, read in %.1fms", plural(s.History.Messages, "message"), bytesText(s.History.Bytes), s.History.Last, s.History.ReadMS)},
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
		return fmt.Sprintf("%s, %s not acknowledged, the oldest for %.1fs", last, bytesText(s.Unacked), s.UnsavedMS/1000)
	}
	return fmt.Sprintf("%s, %s not acknowledged", last, bytesText(s.Unacked))
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

func (c *cli) exportDocCommand() *cobra.Command {
	var file string
	var force bool
	cmd := c.docCommand("export", "Write a document to a file that Y.applyUpdate reads", func(ctx context.Context, f *found) error {
		if len(f.stats) == 0 && f.pin.State == kvpin.Free.String() {
			return failed(exitNotFound, "%s is not live: wsctl store get writes what is stored of it", f.stored.Document)
		}
		if len(f.stats) == 0 {
			return failed(exitUnavailable, "%s is %s in %s, whose nodes are not reached: name its NATS too", f.pin.Document, f.pin.State, f.pin.Region)
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
			return fetch(c.out)
		}
		size, err := writeFile(file, force, fetch)
		if err == nil {
			c.done("wrote %s, %s, from node %s", file, bytesText(size), n.Node)
		}
		return err
	})
	cmd.Flags().StringVarP(&file, "file", "f", "-", "file to write; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return cmd
}

// writeFile writes a file as a whole or not at all.
func writeFile(file string, force bool, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(file); err == nil && !force {
		return 0, failed(exitDeclined, "%s exists: nothing was written; use --force", file)
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".wsctl-export-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(temporary.Name()) // gone already if all went well
	if err := write(temporary); err != nil {
		return 0, errors.Join(err, temporary.Close())
	}
	if info, err := temporary.Stat(); err == nil {
		size = info.Size()
	}
	if err := temporary.Close(); err != nil {
		return 0, err
	}
	return size, os.Rename(temporary.Name(), file)
}
