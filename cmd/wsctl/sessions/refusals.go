package sessions

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// refusalRow is a refusal as it is printed.
type refusalRow struct {
	Node     docid.NodeID `json:"node"`
	Region   docid.Region `json:"region"`
	Document string       `json:"document"`
	control.Refusal
}

func newRefusalRow(n reach.NodeClient, r control.Refusal) refusalRow {
	name := r.Document.Name // all that is known before the token is verified
	if r.Document.Tenant != "" {
		name = r.Document.String()
	}
	return refusalRow{n.Node, n.Region, name, r}
}

var refusalColumns = []console.Column[refusalRow]{
	console.Shown("LAST", func(r refusalRow) string { return console.Ago(r.Last) + " ago" }),
	console.Shown("TIMES", func(r refusalRow) string { return console.Count(r.Count) }),
	console.Shown("REMOTE", func(r refusalRow) string { return r.Remote }),
	console.Shown("DOCUMENT", func(r refusalRow) string { return r.Document }),
	console.Shown("CODE", func(r refusalRow) string { return console.Count(r.Code) }),
	console.Shown("REASON", func(r refusalRow) string { return r.Reason }),
	console.Shown("DETAIL", func(r refusalRow) string { return r.Detail }),
	console.Shown("NODE", func(r refusalRow) string { return string(r.Node) }),
	console.Wide("REQUEST", func(r refusalRow) string { return r.Request }),
	console.Wide("FIRST", func(r refusalRow) string { return console.Ago(r.First) + " ago" }),
	console.Wide("ORIGIN", func(r refusalRow) string { return r.Origin }),
	console.Wide("USER AGENT", func(r refusalRow) string { return r.UserAgent }),
}

// refusalFlags select refusals.
type refusalFlags struct {
	nodes            []string
	remote, document string
	tenant           string
	code             int
}

func (f *refusalFlags) register(c *command.Env, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.nodes, "node", nil, "only this node; repeat for more")
	fl.StringVar(&f.remote, "remote", "", "only clients of this IP address")
	fl.StringVar(&f.document, "document", "", "only documents whose name holds this")
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant; leaves out clients whose token was not good")
	fl.IntVar(&f.code, "code", 0, "only this close code, or HTTP status")
	command.CompleteFlags(c.Clusters, cmd)
}

func (f *refusalFlags) takes(r refusalRow) bool {
	return (f.remote == "" || f.remote == r.Remote) && strings.Contains(r.Refusal.Document.Name, f.document) &&
		(f.tenant == "" || f.tenant == string(r.Refusal.Document.Tenant)) && (f.code == 0 || f.code == r.Code)
}

// RefusalsCommand makes the noun about clients that were turned away.
func RefusalsCommand(c *command.Env) *cobra.Command {
	return command.Noun("refusals", "Which clients were turned away, and why", []*cobra.Command{listRefusalsCommand(c), watchRefusalsCommand(c)}, nil)
}

func listRefusalsCommand(c *command.Env) *cobra.Command {
	var f refusalFlags
	var w command.WatchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the latest refusals, equal ones of one client once",
		Long: `List the latest refusals, node by node, the newest last. Equal ones of one client
are one line. Redirects to another region (4009) are not among them. Each node
remembers the last 1000 since its start.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRemote(f.remote); err != nil {
				return err
			}
			ctx := cmd.Context()
			return command.ListNodes(ctx, c, &w, f.nodes, refusalColumns, func(nodes []reach.NodeClient) iter.Seq2[refusalRow, error] {
				return func(yield func(refusalRow, error) bool) {
					for row, err := range refusals(ctx, nodes, map[docid.NodeID]uint64{}) {
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
	w.Register(cmd)
	return cmd
}

// refusals streams what the nodes remember after the sequences of before, and
// keeps those up to date.
func refusals(ctx context.Context, nodes []reach.NodeClient, after map[docid.NodeID]uint64) iter.Seq2[refusalRow, error] {
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

func watchRefusalsCommand(c *command.Env) *cobra.Command {
	var f refusalFlags
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print refusals as they happen, until Ctrl-C",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRemote(f.remote); err != nil {
				return err
			}
			ctx := cmd.Context()
			columns := append([]console.Column[refusalRow]{console.Shown("AT", func(r refusalRow) string { return console.ClockTime(r.Last) })}, refusalColumns[1:]...)
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				after := map[docid.NodeID]uint64{}
				nodes, _ := fl.Some(ctx, f.nodes) // the watch says what goes wrong
				for range refusals(ctx, nodes, after) {
				}
				out := console.NewEvents(c.Console, columns) // its header says that what happens from now on is seen
				return command.Watcher{Env: c, Interval: interval}.Nodes(ctx, fl, f.nodes, func(n reach.NodeClient) error {
					_, asked := after[n.Node]
					for row, err := range refusals(ctx, []reach.NodeClient{n}, after) {
						if err != nil {
							return err
						}
						if !asked || !f.takes(row) { // at first, only what happens from now on
							continue
						}
						if err := out.Print(row); err != nil {
							return err
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
