package regions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// evacuateFlags say how a region is evacuated.
type evacuateFlags struct {
	to   []string
	pace float64
	undo bool
	yes  console.ConfirmFlag
}

func evacuateCommand(c *command.Env) *cobra.Command {
	var f evacuateFlags
	cmd := &cobra.Command{
		Use:   "evacuate REGION",
		Short: "Move all documents out of a region, and let none begin there",
		Long: `Take a region out of service: mark it in all registries, so that no document begins
to live there, and move those that do, as wsctl pins move does. Clients that come to
the region meanwhile are sent, or carried, to a live one. It tells each second how
far it is, and in the end what has remained and why: then the exit code is 6.

The region is evacuated when it has no pins left and nothing that is not stored. The
mark stays, also when this command is interrupted or fails: run it again to go on, or
with --undo to take the mark away. Documents that have moved stay where they are.`,
		Args:              command.Exactly("REGION"),
		ValidArgsFunction: completeRegions(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.pace <= 0 {
				return exit.WrongFlag("pace", "%v: expected documents per second", f.pace)
			}
			ctx := cmd.Context()
			return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
				if f.undo {
					return undoEvacuation(ctx, c, r, docid.Region(args[0]), &f)
				}
				return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return evacuate(ctx, c, r, fl, docid.Region(args[0]), &f) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.to, "to", nil, "region to move to (default: all other live ones, by turns); repeat for more")
	fl.Float64Var(&f.pace, "pace", 20, "documents per second that begin to move")
	fl.BoolVar(&f.undo, "undo", false, "take the mark away: documents may begin there again")
	f.yes.Register(cmd)
	return cmd
}

func undoEvacuation(ctx context.Context, c *command.Env, r *reach.Registries, region docid.Region, f *evacuateFlags) error {
	if err := c.Confirm(&f.yes, "Let documents begin in %s again?", region); err != nil {
		return err
	}
	changed, err := r.SetEvacuated(ctx, region, false)
	if err == nil {
		c.Done("documents may begin in %s; the mark was in %d of %d registries", region, changed, len(r.Sources))
	}
	return err
}

const (
	// evacuateTries is how often a document is tried that cannot be moved.
	evacuateTries = 4
	// evacuateLook is the time between two looks at the pins.
	evacuateLook = time.Second
	// movesAtOnce is how many documents move at a time.
	movesAtOnce = 16
)

func evacuate(ctx context.Context, c *command.Env, r *reach.Registries, fl *reach.Fleet, region docid.Region, f *evacuateFlags) error {
	e := &evacuation{c: c, r: r, region: region, moving: map[docid.Document]struct{}{}, wait: map[docid.Document]*failedMove{}}
	if err := e.prepare(ctx, fl, f); err != nil {
		return err
	}
	if err := c.Confirm(&f.yes, "Evacuate %s: %s to %v, and no document begins there any more?", region, console.Plural(e.left, "document"), e.to); err != nil {
		return err
	}
	if _, err := r.SetEvacuated(ctx, region, true); err != nil {
		return err
	}
	e.began = time.Now()
	err := e.run(ctx, f.pace)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; %s stays marked: run it again to go on, or with --undo: %w", region, ctx.Err())
	}
	if err != nil {
		return err
	}
	return e.report(ctx)
}

// prepare finds out where to and by whom documents are moved, and changes nothing.
func (e *evacuation) prepare(ctx context.Context, fl *reach.Fleet, f *evacuateFlags) error {
	known, err := e.r.Regions(ctx)
	if err != nil {
		return err // one that is not reached may hold pins of the region
	}
	is := func(name docid.Region) (row reach.RegionRow, found bool) {
		i := slices.IndexFunc(known, func(row reach.RegionRow) bool { return row.Region == name })
		if i < 0 {
			return row, false
		}
		return known[i], true
	}
	if _, found := is(e.region); !found {
		return exit.With(exit.NotFound, "no registry knows a region %s", e.region)
	}
	for _, name := range f.to {
		row, found := is(docid.Region(name))
		if !found || row.Status != kvpin.RegionLive || row.Region == e.region {
			return exit.WrongFlag("to", "%q: expected another region that is live", name)
		}
		e.to = append(e.to, row.Region)
	}
	for _, row := range known {
		if len(f.to) == 0 && row.Status == kvpin.RegionLive && row.Region != e.region {
			e.to = append(e.to, row.Region)
		}
	}
	if len(e.to) == 0 {
		return exit.With(exit.Declined, "nothing was changed: no other region is live")
	}
	if err := e.checkVersions(ctx); err != nil {
		return err
	}
	if e.nodes, err = fl.Nodes(ctx); err != nil {
		return err
	}
	if !slices.ContainsFunc(e.nodes, func(n reach.NodeClient) bool { return n.Region == e.region }) {
		return exit.With(exit.Unavailable, "no node of %s answers: name its NATS by --nats-url", e.region)
	}
	pins, err := e.pins(ctx)
	e.left = len(pins)
	return err
}

// checkVersions refuses where a node would not obey the mark.
func (e *evacuation) checkVersions(ctx context.Context) error {
	leases, err := e.r.Leases(ctx)
	if err != nil {
		return err
	}
	for _, some := range leases {
		for _, l := range some {
			if l.Region == e.region && !slices.Contains(l.Can, kvpin.CanMove) {
				return exit.With(exit.Declined, "nothing was changed: node %s of %s is of a version that does not know how documents move", l.Node, l.Region)
			}
		}
	}
	return nil
}

// leftRow is a document that has remained.
type leftRow struct {
	Document string `json:"document"`
	State    string `json:"state"` // of its pin, or unstored: a former life of it is not stored
	Why      string `json:"why"`
}

var leftColumns = []console.Column[leftRow]{
	console.Shown("DOCUMENT", func(r leftRow) string { return r.Document }),
	console.Shown("STATE", func(r leftRow) string { return r.State }),
	console.Shown("WHY", func(r leftRow) string { return strings.ReplaceAll(r.Why, "\n", "; ") }),
}

// report says what has remained.
func (e *evacuation) report(ctx context.Context) error {
	pins, err := e.pins(ctx)
	if err != nil {
		return err
	}
	var rows []leftRow
	for _, info := range pins {
		row := leftRow{Document: info.Document.String(), State: info.State.String(), Why: "it came while others were moved: run this again"}
		if failed := e.wait[info.Document]; failed != nil {
			row.Why = failed.why
		}
		rows = append(rows, row)
	}
	at := slices.IndexFunc(e.nodes, func(n reach.NodeClient) bool { return n.Region == e.region })
	unstored, err := e.nodes[at].Unstored(ctx, e.nodes[at].Node)
	if err != nil {
		return fmt.Errorf("it is not known whether all is stored: %w", err)
	}
	for _, d := range unstored.Documents {
		rows = append(rows, leftRow{d.String(), "unstored", "the history of the region holds what is not stored: it is stored within minutes if the store answers"})
	}
	if len(rows) == 0 {
		e.c.Done("%s is evacuated: %s moved in %.0f s, no pin is left, and everything is stored", e.region, console.Plural(e.moved, "document"), time.Since(e.began).Seconds())
		return nil
	}
	if err := console.PrintRows(e.c.Console, leftColumns, console.InMemory(rows, nil)); err != nil {
		return err
	}
	return exit.With(exit.Unhealthy, "%s is not evacuated: %s left, %d histories not stored, %s moved. It stays marked: run this again, or with --undo",
		e.region, console.Plural(len(pins), "pin"), unstored.Count, console.Plural(e.moved, "document"))
}
