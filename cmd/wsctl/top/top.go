// Package top watches the nodes and the busiest documents.
package top

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/control"
)

// topView is one screen of wsctl top.
type topView struct {
	At        time.Time     `json:"at"`
	Nodes     []topNode     `json:"nodes"`
	Documents []topDocument `json:"documents"` // the busiest, over all nodes
	Failures  []string      `json:"failures,omitempty"`
}

// topNode is a node and its rates since the screen before.
type topNode struct {
	control.Info
	Rates rates `json:"rates"`
}

// rates are per second.
type rates struct {
	EditsIn   float64 `json:"editsInPerSecond"`
	FramesIn  float64 `json:"framesInPerSecond"`
	FramesOut float64 `json:"framesOutPerSecond"`
	BytesIn   float64 `json:"bytesInPerSecond"`
	BytesOut  float64 `json:"bytesOutPerSecond"`
	Refused   float64 `json:"refusedPerSecond"`
}

// topDocument is a document over all nodes that have it.
type topDocument struct {
	Document string  `json:"document"`
	Nodes    int     `json:"nodes"`
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"editsPerSecond"`
	Bytes    int     `json:"bytes"`
	Unacked  int     `json:"unackedBytes"`
}

type topFlags struct {
	interval time.Duration
	rows     int
	once     bool
}

// Command makes the verb top.
func Command(c *command.Env) *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the nodes, the busiest documents and the rates, until Ctrl-C",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.interval < command.MinInterval || f.rows < 1 {
				return exit.With(exit.Usage, "top: expected an --interval of at least 100ms and at least one of --rows")
			}
			ctx := cmd.Context()
			return command.WatchError(ctx, c.Clusters.WithFleet(func(fl *reach.Fleet) error { return top(ctx, c, fl, &f) }))
		},
	}
	fl := cmd.Flags()
	fl.DurationVar(&f.interval, "interval", 2*time.Second, "time between screens")
	fl.IntVar(&f.rows, "rows", 15, "documents to show, at most 100")
	fl.BoolVar(&f.once, "once", false, "print one screen, after one interval, and end")
	return cmd
}

func top(ctx context.Context, c *command.Env, fl *reach.Fleet, f *topFlags) error {
	before, err := look(ctx, fl, f.rows, nil)
	if err != nil {
		return err
	}
	for {
		if !pause.For(ctx, f.interval) {
			return ctx.Err()
		}
		view, err := look(ctx, fl, f.rows, before)
		if err != nil {
			return err
		}
		before = view
		switch {
		case c.JSON():
			err = c.Value(view)
		default:
			err = printTop(c, view)
		}
		if err != nil || f.once {
			return err
		}
	}
}

// look asks all nodes. What is not reached is named on the screen instead of ending it.
func look(ctx context.Context, fl *reach.Fleet, most int, before *topView) (*topView, error) {
	nodes, lost := fl.Some(ctx, nil)
	if len(nodes) == 0 {
		return nil, lost
	}
	type answer struct {
		info control.Info
		docs []control.DocumentRow
	}
	v := &topView{At: time.Now(), Nodes: []topNode{}}
	answers, err := reach.Gather(nodes, func(n reach.NodeClient) (a answer, err error) {
		if a.info, err = n.Info(ctx, n.Node); err == nil {
			a.docs, err = n.Busiest(ctx, n.Node, control.Filter{}, most)
		}
		return a, err
	})
	if err = errors.Join(lost, err); err != nil {
		v.Failures = strings.Split(err.Error(), "\n")
	}
	documents := map[string]*topDocument{}
	for _, a := range answers {
		v.Nodes = append(v.Nodes, topNode{a.info, before.rates(a.info, v.At)})
		for _, row := range a.docs {
			name := row.Document.String()
			d := documents[name]
			if d == nil {
				d = &topDocument{Document: name}
				documents[name] = d
			}
			d.Nodes++
			d.Sessions += row.Sessions
			d.Rate += row.Rate
			d.Bytes = max(d.Bytes, row.Bytes)
			d.Unacked += row.Unacked
		}
	}
	v.Documents = make([]topDocument, 0, len(documents))
	for _, d := range documents {
		v.Documents = append(v.Documents, *d)
	}
	slices.SortFunc(v.Documents, func(a, b topDocument) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Document, b.Document))
	})
	v.Documents = v.Documents[:min(len(v.Documents), most)]
	return v, nil
}

// rates compares a node with what it was on the screen before; a node that was
// started anew, or was not there, has none.
func (v *topView) rates(now control.Info, at time.Time) (r rates) {
	if v == nil {
		return r
	}
	i := slices.IndexFunc(v.Nodes, func(n topNode) bool { return n.Node == now.Node && n.Started.Equal(now.Started) })
	if i < 0 {
		return r
	}
	old, seconds := v.Nodes[i].Traffic, at.Sub(v.At).Seconds()
	per := func(now, before int64) float64 { return float64(now-before) / seconds }
	return rates{
		EditsIn: per(now.Traffic.EditsIn, old.EditsIn), FramesIn: per(now.Traffic.FramesIn, old.FramesIn),
		FramesOut: per(now.Traffic.FramesOut, old.FramesOut), BytesIn: per(now.Traffic.BytesIn, old.BytesIn),
		BytesOut: per(now.Traffic.BytesOut, old.BytesOut), Refused: per(now.Traffic.Refused, old.Refused),
	}
}

func printTop(c *command.Env, v *topView) error {
	if console.IsTerminal(c.Out) {
		if _, err := io.WriteString(c.Out, console.ClearScreen); err != nil {
			return err
		}
	}
	connections := 0
	var all rates
	for _, n := range v.Nodes {
		connections += n.Connections
		all.EditsIn += n.Rates.EditsIn
		all.FramesOut += n.Rates.FramesOut
		all.BytesOut += n.Rates.BytesOut
	}
	fmt.Fprintf(c.Out, "%s   %s, %s   %.0f edits/s in, %.0f frames/s and %s/s out\n\n", v.At.Format(time.TimeOnly),
		console.Plural(len(v.Nodes), "node"), console.Plural(connections, "connection"), all.EditsIn, all.FramesOut, console.Bytes(int64(all.BytesOut)))
	t := tabwriter.NewWriter(c.Out, 0, 0, console.ColumnGap, ' ', 0)
	fmt.Fprintln(t, "NODE\tREGION\tSTATE\tCONNECTIONS\tDOCUMENTS\tEDITS/S\tFRAMES IN/S\tFRAMES OUT/S\tKIB OUT/S\tREFUSED/S\tMEMORY MIB")
	for _, n := range v.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%s\t%.1f\t%s\n", console.Printable(string(n.Node)), console.Printable(string(n.Region)), console.Printable(n.State), n.Connections, n.Documents,
			n.Rates.EditsIn, n.Rates.FramesIn, n.Rates.FramesOut, console.KiB(n.Rates.BytesOut), n.Rates.Refused, console.MiB(n.MemoryBytes))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nDOCUMENT\tNODES\tSESSIONS\tEDITS/S\tSIZE KIB\tUNACKED KIB")
	for _, d := range v.Documents {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%s\t%s\n", console.Printable(d.Document), d.Nodes, d.Sessions, d.Rate, console.KiB(d.Bytes), console.KiB(d.Unacked))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range v.Failures {
		if _, err := fmt.Fprintln(c.Out, console.Printable(f)); err != nil {
			return err
		}
	}
	return nil
}
