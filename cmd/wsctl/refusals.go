package main

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/relay/control"
)

// refusalRow is a refusal as it is printed.
type refusalRow struct {
	Node     string `json:"node"`
	Region   string `json:"region"`
	Document string `json:"document"`
	control.Refusal
}

func newRefusalRow(n node, r control.Refusal) refusalRow {
	name := r.Document.Name // all that is known before the token is verified
	if r.Document.Tenant != "" {
		name = r.Document.String()
	}
	return refusalRow{n.Node, n.Region, name, r}
}

var refusalColumns = []column[refusalRow]{
	{"LAST", false, func(r refusalRow) string { return ago(r.Last) + " ago" }},
	{"TIMES", false, func(r refusalRow) string { return count(r.Count) }},
	{"REMOTE", false, func(r refusalRow) string { return r.Remote }},
	{"DOCUMENT", false, func(r refusalRow) string { return r.Document }},
	{"CODE", false, func(r refusalRow) string { return count(r.Code) }},
	{"REASON", false, func(r refusalRow) string { return r.Reason }},
	{"DETAIL", false, func(r refusalRow) string { return r.Detail }},
	{"NODE", false, func(r refusalRow) string { return r.Node }},
	{"REQUEST", true, func(r refusalRow) string { return r.Request }},
	{"FIRST", true, func(r refusalRow) string { return ago(r.First) + " ago" }},
	{"ORIGIN", true, func(r refusalRow) string { return r.Origin }},
	{"USER AGENT", true, func(r refusalRow) string { return r.UserAgent }},
}

// refusalFlags select refusals.
type refusalFlags struct {
	nodes            []string
	remote, document string
	tenant           string
	code             int
}

func (f *refusalFlags) register(c *cli, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.nodes, "node", nil, "only this node; repeat for more")
	fl.StringVar(&f.remote, "remote", "", "only clients of this IP address")
	fl.StringVar(&f.document, "document", "", "only documents whose name holds this")
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant; leaves out clients whose token was not good")
	fl.IntVar(&f.code, "code", 0, "only this close code, or HTTP status")
	c.completeFlags(cmd)
}

func (f *refusalFlags) takes(r refusalRow) bool {
	return (f.remote == "" || f.remote == r.Remote) && strings.Contains(r.Refusal.Document.Name, f.document) &&
		(f.tenant == "" || f.tenant == string(r.Refusal.Document.Tenant)) && (f.code == 0 || f.code == r.Code)
}

func (c *cli) refusalsCommand() *cobra.Command {
	return noun("refusals", "Which clients were turned away, and why", []*cobra.Command{c.listRefusalsCommand(), c.watchRefusalsCommand()}, nil)
}

func (c *cli) listRefusalsCommand() *cobra.Command {
	var f refusalFlags
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the latest refusals, equal ones of one client once",
		Long: `List the latest refusals, node by node, the newest last. Equal ones of one client
are one line. Redirects to another region (4009) are not among them. Each node
remembers the last 1000 since its start.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRemote(f.remote); err != nil {
				return err
			}
			ctx := cmd.Context()
			return listNodes(ctx, c, &w, f.nodes, refusalColumns, func(nodes []node) iter.Seq2[refusalRow, error] {
				return func(yield func(refusalRow, error) bool) {
					for row, err := range refusals(ctx, nodes, map[string]uint64{}) {
						if err == nil && !f.takes(row) {
							continue
						}
						if !yield(row, err) {
							return
						}
					}
				}
			})
		},
	}
	f.register(c, cmd)
	w.register(cmd)
	return cmd
}

// refusals streams what the nodes remember after the sequences of before, and
// keeps those up to date.
func refusals(ctx context.Context, nodes []node, after map[string]uint64) iter.Seq2[refusalRow, error] {
	return func(yield func(refusalRow, error) bool) {
		for _, n := range nodes {
			for more := true; more; {
				recent, err := n.Recent(ctx, n.Node, control.RecentRequest{AfterRefusal: after[n.Node], AfterEnded: never})
				if err != nil {
					if !yield(refusalRow{}, err) {
						return
					}
					break
				}
				for _, r := range recent.Refusals.Rows {
					if !yield(newRefusalRow(n, r), nil) {
						return
					}
				}
				after[n.Node], more = recent.Refusals.Next, recent.Refusals.More
			}
		}
	}
}

// never is a sequence that no node reaches.
const never = 1 << 62

func (c *cli) watchRefusalsCommand() *cobra.Command {
	var f refusalFlags
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print refusals as they happen, until Ctrl-C",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRemote(f.remote); err != nil {
				return err
			}
			ctx := cmd.Context()
			columns := append([]column[refusalRow]{{"AT", false, func(r refusalRow) string { return clockTime(r.Last) }}}, refusalColumns[1:]...)
			return c.withFleet(func(fl *fleet) error {
				after := map[string]uint64{}
				nodes, _ := fl.some(ctx, f.nodes) // what goes wrong follow says, too
				for range refusals(ctx, nodes, after) {
				}
				out := newEvents(c, columns) // its header says that what happens from now on is seen
				return c.follow(ctx, fl, f.nodes, interval, func(n node) error {
					_, asked := after[n.Node]
					for row, err := range refusals(ctx, []node{n}, after) {
						if err != nil {
							return err
						}
						if !asked || !f.takes(row) { // at first, only what happens from now on
							continue
						}
						if err := out.print(row); err != nil {
							return closedError{err}
						}
					}
					return nil
				})
			})
		},
	}
	f.register(c, cmd)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often the nodes are asked")
	return cmd
}
