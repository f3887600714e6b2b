package docs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

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
		{"document", s.Document.String()}, {"node", string(s.Node)}, {"epoch", s.Epoch},
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
