package regions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
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

// evacuation is a region that is being evacuated.
type evacuation struct {
	c      *command.Env
	r      *reach.Registries
	nodes  []reach.NodeClient // that answer, of all regions
	region docid.Region
	to     []docid.Region
	began  time.Time

	mu     sync.Mutex // guards all below
	turn   int
	moving map[docid.Document]struct{}
	moved  int
	wait   map[docid.Document]*failedMove
	left   int // pins at the last look
	moves  sync.WaitGroup
}

// failedMove is a document that could not be moved.
type failedMove struct {
	times int
	why   string
	again time.Time
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
	if !slices.ContainsFunc(e.nodes, func(n reach.NodeClient) bool { return n.Region == string(e.region) }) {
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

// pins are those of the region.
func (e *evacuation) pins(ctx context.Context) (all []kvpin.PinInfo, err error) {
	for info, err := range e.r.Pins(ctx, "", kvpin.PinFilter{Region: e.region}) {
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

// run moves documents until none is left, or nothing more can be done.
func (e *evacuation) run(ctx context.Context, pace float64) error {
	defer e.moves.Wait()
	moves, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	failures := 0
	ticker(ctx, evacuateLook, func() bool {
		var pins []kvpin.PinInfo
		if pins, err = e.pins(ctx); err != nil {
			failures++
			return failures < evacuateTries && ctx.Err() == nil
		}
		failures = 0
		settled := time.Since(e.began) > 2*evacuateLook // every node has heard of the mark
		begun := e.begin(moves, pins, max(1, int(pace*evacuateLook.Seconds())))
		e.c.Done("%s", e.progress(len(pins)))
		return !settled || begun || e.busy() || e.expects(pins)
	})
	return err
}

// begin begins to move up to most documents. It reports whether any was to be moved.
func (e *evacuation) begin(ctx context.Context, pins []kvpin.PinInfo, most int) (any bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = len(pins)
	for _, info := range pins {
		_, moving := e.moving[info.Document]
		failed := e.wait[info.Document]
		switch {
		case moving || info.State == kvpin.Grace: // it ends by itself
			continue
		case failed != nil && (failed.times >= evacuateTries || time.Now().Before(failed.again)):
			continue
		}
		any = true
		if most == 0 || len(e.moving) == movesAtOnce {
			break
		}
		most--
		e.moving[info.Document] = struct{}{}
		e.turn++
		turn := e.turn
		e.moves.Go(func() { e.move(ctx, info, turn) })
	}
	return any
}

// move moves one document, to the first region that it may go to.
func (e *evacuation) move(ctx context.Context, info kvpin.PinInfo, turn int) {
	var err error
	var refused *control.Error
	if n, found := reach.Mover(e.nodes, info, turn); !found {
		err = fmt.Errorf("no node of %s answers", e.region)
	} else {
		for i := range e.to {
			to := e.to[(turn+i)%len(e.to)]
			_, err = n.Move(ctx, n.Node, control.MoveRequest{Document: control.NewDocument(info.Document), To: to})
			if !errors.As(err, &refused) || refused.Code != control.CodeWrong {
				break
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.moving, info.Document)
	switch {
	case err == nil:
		e.moved++
		delete(e.wait, info.Document)
	case reach.IsNotFound(err): // it has ended
		delete(e.wait, info.Document)
	default:
		failed := e.wait[info.Document]
		if failed == nil {
			failed = new(failedMove)
			e.wait[info.Document] = failed
		}
		if failed.times++; errors.As(err, &refused) && refused.Code == control.CodeWrong {
			failed.times = evacuateTries // it stays so, until somebody changes that
		}
		failed.why, failed.again = exit.Text(err), time.Now().Add(time.Second<<failed.times)
	}
}

// busy reports whether documents are moving.
func (e *evacuation) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.moving) > 0
}

// expects reports whether any of the pins may still go.
func (e *evacuation) expects(pins []kvpin.PinInfo) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(pins, func(info kvpin.PinInfo) bool {
		failed := e.wait[info.Document]
		return failed == nil || failed.times < evacuateTries
	})
}

func (e *evacuation) progress(left int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := fmt.Sprintf("%3.0f s: %s moved, %d left", time.Since(e.began).Seconds(), console.Plural(e.moved, "document"), left)
	if n := len(e.moving); n > 0 {
		text += fmt.Sprintf(", %d on their way", n)
	}
	if n := len(e.wait); n > 0 {
		text += fmt.Sprintf(", %d could not be moved yet", n)
	}
	return text
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
	at := slices.IndexFunc(e.nodes, func(n reach.NodeClient) bool { return n.Region == string(e.region) })
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

// ticker calls do at once and then again and again, until it returns false or ctx ends.
func ticker(ctx context.Context, every time.Duration, do func() bool) {
	t := time.NewTicker(every)
	defer t.Stop()
	for do() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
