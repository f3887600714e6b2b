package main

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

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
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

var nodeColumns = []column[nodeRow]{
	{"NODE", false, func(r nodeRow) string { return r.Node }},
	{"REGION", false, func(r nodeRow) string { return r.Region }},
	{"STATE", false, func(r nodeRow) string { return r.State }},
	{"VERSION", false, func(r nodeRow) string { return r.Version }},
	{"UPTIME", false, func(r nodeRow) string { return ago(r.Started) }},
	{"CONNECTIONS", false, func(r nodeRow) string { return count(r.Connections) }},
	{"DOCUMENTS", false, func(r nodeRow) string { return count(r.Documents) }},
	{"MEMORY MIB", false, func(r nodeRow) string {
		if !r.Reached {
			return "-"
		}
		return mib(r.MemoryBytes)
	}},
	{"LOAD %", false, func(r nodeRow) string {
		if r.Load == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", r.Load*100)
	}},
	{"LEASES", false, func(r nodeRow) string { return r.leases() }},
	{"REFUSED", true, func(r nodeRow) string { return count(r.Traffic.Refused) }},
	{"GOROUTINES", true, func(r nodeRow) string { return count(r.Goroutines) }},
}

// leases says how many of the registries that the node serves it has a lease in.
func (r nodeRow) leases() string {
	if !r.Reached {
		return count(len(r.Leases))
	}
	current := 0
	for _, l := range r.Registries {
		if l.Current {
			current++
		}
	}
	return fmt.Sprintf("%d/%d", current, len(r.Registries))
}

// nodeRows joins what the nodes say and what the registries know of them. What
// keeps either from saying so is not in the way of the other: it comes as the error
// beside the rows.
func (c *cli) nodeRows(ctx context.Context, fl *fleet, region string) ([]nodeRow, error) {
	nodes, lost := fl.nodes(ctx)
	infos, err := gather(nodes, func(n node) (control.Info, error) { return n.Info(ctx, n.Node) })
	rows := map[string]*nodeRow{}
	reached := map[string]bool{}
	for _, info := range infos {
		rows[info.Node] = &nodeRow{Info: info, Reached: true, Leases: []leaseRow{}}
		reached[info.Region] = true
	}
	registryErr := c.withRegistries(ctx, func(r *registries) error { return addLeases(ctx, r, rows, reached) })
	if registryErr != nil && exitCode(registryErr) == exitNotFound {
		c.done("wsctl: leases are not looked at: %v", registryErr)
		registryErr = nil
	}
	err = errors.Join(lost, err, registryErr)
	if len(rows) == 0 && err == nil {
		return nil, failed(exitUnavailable, "no node answers on %s", strings.Join(fl.urls, ", "))
	}
	var list []nodeRow
	for _, row := range rows {
		if region == "" || region == row.Region {
			list = append(list, *row)
		}
	}
	slices.SortFunc(list, func(a, b nodeRow) int {
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(a.Node, b.Node))
	})
	if len(list) == 0 && err == nil {
		err = failed(exitNotFound, "no node of region %s", region)
	}
	return list, err
}

func addLeases(ctx context.Context, r *registries, rows map[string]*nodeRow, reached map[string]bool) error {
	leases, err := r.leases(ctx)
	for _, license := range slices.Sorted(maps.Keys(leases)) {
		for _, l := range leases[license] {
			row := rows[string(l.Node)]
			if row == nil {
				row = &nodeRow{Info: control.Info{Node: string(l.Node), Region: string(l.Region), State: control.StateReady, Started: l.Started}}
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

func (c *cli) nodesCommand() *cobra.Command {
	return noun("nodes", "Which nodes run, and how they are", []*cobra.Command{c.listNodesCommand(), c.getNodeCommand()}, []*cobra.Command{c.drainCommand()})
}

func (c *cli) listNodesCommand() *cobra.Command {
	var region string
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes: those that answer, and those of other regions that have leases",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.withFleet(func(fl *fleet) error {
				return c.repeat(ctx, &w, func() error {
					rows, err := c.nodeRows(ctx, fl, region)
					if len(rows) == 0 {
						return err
					}
					return printRows(c, nodeColumns, inMemory(rows, err))
				})
			})
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "only this WebSocket region")
	w.register(cmd)
	c.completeFlags(cmd)
	return cmd
}

func (c *cli) getNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get NODE",
		Short:             "Show one node with its leases",
		Args:              exactly("NODE"),
		ValidArgsFunction: c.completeNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFleet(func(fl *fleet) error {
				nodes, err := fl.some(cmd.Context(), args)
				if err != nil {
					return err
				}
				info, err := nodes[0].Info(cmd.Context(), nodes[0].Node)
				if err != nil {
					return err
				}
				if c.output == "json" {
					return writeJSON(c.out, "", info, "\n")
				}
				return printNode(c.out, info)
			})
		},
	}
}

func printNode(w io.Writer, i control.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, line := range [][2]string{
		{"node", i.Node}, {"region", i.Region}, {"state", i.State}, {"version", i.Version},
		{"started", i.Started.Format(time.RFC3339) + ", " + ago(i.Started) + " ago"},
		{"connections", count(i.Connections)}, {"documents", count(i.Documents)},
		{"memory", bytesText(i.MemoryBytes)}, {"goroutines", count(i.Goroutines)},
		{"edits in", count(i.Traffic.EditsIn)},
		{"frames", fmt.Sprintf("%d in, %d out", i.Traffic.FramesIn, i.Traffic.FramesOut)},
		{"bytes", fmt.Sprintf("%s in, %s out", bytesText(i.Traffic.BytesIn), bytesText(i.Traffic.BytesOut))},
		{"refused", count(i.Traffic.Refused)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	for _, l := range i.Registries {
		state := "no current lease"
		if l.Current {
			state = "lease " + l.ID + " until " + l.Until.Format(time.TimeOnly)
		}
		fmt.Fprintf(t, "registry %s\t%s, %s held, %s owed\n", l.License, state, plural(l.Held, "document"), plural(l.Owed, "write"))
	}
	return t.Flush()
}

func (c *cli) drainCommand() *cobra.Command {
	var delay, spread, patience time.Duration
	var wait bool
	var yes confirmFlag
	cmd := &cobra.Command{
		Use:   "drain NODE...",
		Short: "Take nodes out of service: their clients go to other nodes",
		Long: `Take nodes out of service. A node that drains says 503 at /health and not ready
at /readyz at once; after --delay, in which balancers notice, it takes no new
clients and ends its sessions with code 1012, evenly over --spread. It goes on
running, without clients, until it is stopped; there is no way back but a start.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failed(exitUsage, "%s: expected nodes", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: c.completeNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return c.withFleet(func(fl *fleet) error {
				nodes, err := fl.some(ctx, args)
				if err != nil {
					return err
				}
				infos, err := gather(nodes, func(n node) (control.Info, error) { return n.Info(ctx, n.Node) })
				if err != nil {
					return err
				}
				sessions := 0
				for _, i := range infos {
					sessions += i.Connections
				}
				if err := c.confirm(&yes, "Drain %s with %s?", strings.Join(args, ", "), plural(sessions, "session")); err != nil {
					return err
				}
				_, err = gather(nodes, func(n node) (struct{}, error) { return struct{}{}, n.Drain(ctx, n.Node, delay, spread) })
				if err != nil {
					return err
				}
				c.done("draining %s", strings.Join(args, ", "))
				if !wait {
					return nil
				}
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				pause.For(ctx, delay) // clients may come until then
				return c.waitDrained(ctx, nodes)
			})
		},
	}
	fl := cmd.Flags()
	fl.DurationVar(&delay, "delay", 0, "how long to keep serving while balancers notice")
	fl.DurationVar(&spread, "spread", 10*time.Second, "time over which sessions are ended after that")
	fl.BoolVar(&wait, "wait", false, "wait until no session and no document is left")
	fl.DurationVar(&patience, "patience", 10*time.Minute, "how long to wait at most, with --wait")
	yes.register(cmd)
	return cmd
}

// waitDrained waits until the nodes are empty. A node that was stopped meanwhile
// is too: NATS says that nobody is there. One that is merely silent may be not.
func (c *cli) waitDrained(ctx context.Context, nodes []node) error {
	for {
		infos, err := gather(nodes, func(n node) (control.Info, error) {
			info, err := n.Info(ctx, n.Node)
			if errors.Is(err, nats.ErrNoResponders) {
				return control.Info{}, nil
			}
			return info, err
		})
		sessions, documents := 0, 0
		for _, i := range infos {
			sessions += i.Connections
			documents += i.Documents
		}
		if sessions == 0 && documents == 0 && err == nil {
			c.done("drained")
			return nil
		}
		if !pause.For(ctx, time.Second) {
			left := failed(exitFailed, "not drained: %s and %s are left", plural(sessions, "session"), plural(documents, "document"))
			return errors.Join(left, err)
		}
	}
}
