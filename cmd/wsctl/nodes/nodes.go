// Package nodes shows nodes, and takes them out of service.
package nodes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// nodeRow is a node as it is printed. Nodes of regions that wsctl was not pointed
// at are known by their leases alone.
type nodeRow struct {
	control.Info
	Reached bool       `json:"reached"` // the node itself answered
	Leases  []leaseRow `json:"leases"`
}

// leaseRow is a node's lease as a registry has it.
type leaseRow struct {
	License docid.LicenseRegion `json:"license"`
	ID      string              `json:"id"`
	Renewed time.Time           `json:"renewed"` // by the registry's clock
}

// stateLost is a node that is known by its leases, in a region whose nodes answer,
// and does not answer itself.
const stateLost = "no answer"

var nodeColumns = []console.Column[nodeRow]{
	console.Shown("NODE", func(r nodeRow) string { return string(r.Node) }),
	console.Shown("REGION", func(r nodeRow) string { return string(r.Region) }),
	console.Shown("STATE", func(r nodeRow) string { return r.State }),
	console.Shown("VERSION", func(r nodeRow) string { return r.Version }),
	console.Shown("UPTIME", func(r nodeRow) string { return console.Ago(r.Started) }),
	console.Shown("CONNECTIONS", func(r nodeRow) string { return console.Count(r.Connections) }),
	console.Shown("DOCUMENTS", func(r nodeRow) string { return console.Count(r.Documents) }),
	console.Shown("MEMORY MIB", func(r nodeRow) string {
		if !r.Reached {
			return "-"
		}
		return console.MiB(r.MemoryBytes)
	}),
	console.Shown("LOAD %", func(r nodeRow) string {
		if r.Load == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", r.Load*100)
	}),
	console.Shown("LEASES", func(r nodeRow) string { return r.leases() }),
	console.Wide("REFUSED", func(r nodeRow) string { return console.Count(r.Traffic.Refused) }),
	console.Wide("GOROUTINES", func(r nodeRow) string { return console.Count(r.Goroutines) }),
}

// leases says how many of the registries that the node serves it has a lease in.
func (r nodeRow) leases() string {
	if !r.Reached {
		return console.Count(len(r.Leases))
	}
	current := 0
	for _, l := range r.Registries {
		if l.Current {
			current++
		}
	}
	return fmt.Sprintf("%d/%d", current, len(r.Registries))
}

// nodeRows joins what the nodes say and what the registries know of them. If one of
// the two cannot be reached, the rows have what the other says, and the error says why.
func nodeRows(ctx context.Context, c *command.Env, fl *reach.Fleet, region string) ([]nodeRow, error) {
	nodes, lost := fl.Nodes(ctx)
	infos, err := reach.Gather(nodes, func(n reach.NodeClient) (control.Info, error) { return n.Info(ctx, n.Node) })
	rows := map[docid.NodeID]*nodeRow{}
	reached := map[docid.Region]bool{}
	for _, info := range infos {
		rows[info.Node] = &nodeRow{Info: info, Reached: true, Leases: []leaseRow{}}
		reached[info.Region] = true
	}
	registryErr := c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error { return addLeases(ctx, r, rows, reached) })
	if registryErr != nil && exit.Code(registryErr) == exit.NotFound {
		c.Done("wsctl: leases are not looked at: %v", registryErr)
		registryErr = nil
	}
	err = errors.Join(lost, err, registryErr)
	if len(rows) == 0 && err == nil {
		return nil, exit.With(exit.Unavailable, "no node answers on %s", strings.Join(fl.URLs, ", "))
	}
	var list []nodeRow
	for _, row := range rows {
		if region == "" || docid.Region(region) == row.Region {
			list = append(list, *row)
		}
	}
	slices.SortFunc(list, func(a, b nodeRow) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node))
	})
	if len(list) == 0 && err == nil {
		err = exit.With(exit.NotFound, "no node of region %s", region)
	}
	return list, err
}

func addLeases(ctx context.Context, r *reach.Registries, rows map[docid.NodeID]*nodeRow, reached map[docid.Region]bool) error {
	leases, err := r.Leases(ctx)
	for _, license := range slices.Sorted(maps.Keys(leases)) {
		for _, l := range leases[license] {
			row := rows[l.Node]
			if row == nil {
				row = &nodeRow{Info: control.Info{Node: l.Node, Region: l.Region, State: control.StateReady, Started: l.Started}}
				if l.Draining {
					row.State = control.StateDraining
				}
				if reached[row.Region] {
					row.State = stateLost
				}
				var load control.LeaseLoad
				if json.Unmarshal(l.Load, &load) == nil {
					row.Version, row.Connections, row.Documents, row.Load = load.Version, load.Connections, load.Documents, load.Load
				}
				rows[row.Node] = row
			}
			row.Leases = append(row.Leases, leaseRow{license, string(l.ID), l.Renewed})
		}
	}
	return err
}

// Command makes the noun nodes.
func Command(c *command.Env) *cobra.Command {
	return command.Noun("nodes", "Which nodes run, and how they are", []*cobra.Command{listNodesCommand(c), getNodeCommand(c)}, []*cobra.Command{drainCommand(c)})
}

func listNodesCommand(c *command.Env) *cobra.Command {
	var region string
	var w command.WatchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes: those that answer, and those of other regions that have leases",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				return w.Repeat(ctx, c, func() error {
					rows, err := nodeRows(ctx, c, fl, region)
					if len(rows) == 0 {
						return err
					}
					return console.PrintRows(c.Console, nodeColumns, console.InMemory(rows, err))
				})
			})
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "only this WebSocket region")
	w.Register(cmd)
	command.CompleteFlags(c.Clusters, cmd)
	return cmd
}

func getNodeCommand(c *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "get NODE",
		Short:             "Show one node with its leases",
		Args:              command.Exactly("NODE"),
		ValidArgsFunction: command.CompleteNodes(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				nodes, err := fl.Some(cmd.Context(), args)
				if err != nil {
					return err
				}
				info, err := nodes[0].Info(cmd.Context(), nodes[0].Node)
				if err != nil {
					return err
				}
				if c.JSON() {
					return c.Value(info)
				}
				return printNode(c.Out, info)
			})
		},
	}
}

func printNode(w io.Writer, i control.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, console.ColumnGap, ' ', 0)
	for _, line := range [][2]string{
		{"node", string(i.Node)}, {"region", string(i.Region)}, {"state", i.State}, {"version", i.Version},
		{"started", i.Started.Format(time.RFC3339) + ", " + console.Ago(i.Started) + " ago"},
		{"connections", console.Count(i.Connections)}, {"documents", console.Count(i.Documents)},
		{"memory", console.Bytes(i.MemoryBytes)}, {"goroutines", console.Count(i.Goroutines)},
		{"edits in", console.Count(i.Traffic.EditsIn)},
		{"frames", fmt.Sprintf("%d in, %d out", i.Traffic.FramesIn, i.Traffic.FramesOut)},
		{"bytes", fmt.Sprintf("%s in, %s out", console.Bytes(i.Traffic.BytesIn), console.Bytes(i.Traffic.BytesOut))},
		{"refused", console.Count(i.Traffic.Refused)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	for _, l := range i.Registries {
		state := "no current lease"
		if l.Current {
			state = "lease " + l.ID + " until " + l.Until.Format(time.TimeOnly)
		}
		fmt.Fprintf(t, "registry %s\t%s, %s held, %s owed\n", l.License, state, console.Plural(l.Held, "document"), console.Plural(l.Owed, "write"))
	}
	return t.Flush()
}
