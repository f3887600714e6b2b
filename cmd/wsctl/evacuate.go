package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// evacuateFlags say how a region is evacuated.
type evacuateFlags struct {
	to   []string
	pace float64
	undo bool
	yes  confirmFlag
}

func (c *cli) evacuateCommand() *cobra.Command {
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
		Args:              exactly("REGION"),
		ValidArgsFunction: c.completeRegions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.pace <= 0 {
				return wrongFlag("pace", "%v: expected documents per second", f.pace)
			}
			ctx := cmd.Context()
			return c.withRegistries(ctx, func(r *registries) error {
				if f.undo {
					return c.undoEvacuation(ctx, r, docid.Region(args[0]), &f)
				}
				return c.withFleet(func(fl *fleet) error { return c.evacuate(ctx, r, fl, docid.Region(args[0]), &f) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.to, "to", nil, "region to move to (default: all other live ones, by turns); repeat for more")
	fl.Float64Var(&f.pace, "pace", 20, "documents per second that begin to move")
	fl.BoolVar(&f.undo, "undo", false, "take the mark away: documents may begin there again")
	f.yes.register(cmd)
	return cmd
}

// setEvacuated marks a region in all registries, or in none that is not reached.
func (r *registries) setEvacuated(ctx context.Context, region docid.Region, evacuated bool) (changed int, err error) {
	if r.lost != nil {
		return 0, r.lost
	}
	for _, license := range r.licenses() {
		if _, err := r.inspector(license); err != nil {
			return 0, err
		}
	}
	var errs []error
	for _, license := range r.licenses() {
		i, _ := r.inspector(license)
		within, cancel := context.WithTimeout(ctx, r.timeout)
		did, err := i.SetEvacuated(within, license, region, evacuated)
		cancel()
		if errs = append(errs, err); did {
			changed++
		}
	}
	return changed, errors.Join(errs...)
}

func (c *cli) undoEvacuation(ctx context.Context, r *registries, region docid.Region, f *evacuateFlags) error {
	if err := c.confirm(&f.yes, "Let documents begin in %s again?", region); err != nil {
		return err
	}
	changed, err := r.setEvacuated(ctx, region, false)
	if err == nil {
		c.done("documents may begin in %s; the mark was in %d of %d registries", region, changed, len(r.sources))
	}
	return err
}

// evacuation is a region that is being evacuated.
type evacuation struct {
	c      *cli
	r      *registries
	nodes  []node // that answer, of all regions
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

func (c *cli) evacuate(ctx context.Context, r *registries, fl *fleet, region docid.Region, f *evacuateFlags) error {
	e := &evacuation{c: c, r: r, region: region, moving: map[docid.Document]struct{}{}, wait: map[docid.Document]*failedMove{}}
	if err := e.prepare(ctx, fl, f); err != nil {
		return err
	}
	if err := c.confirm(&f.yes, "Evacuate %s: %s to %v, and no document begins there any more?", region, plural(e.left, "document"), e.to); err != nil {
		return err
	}
	if _, err := r.setEvacuated(ctx, region, true); err != nil {
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
func (e *evacuation) prepare(ctx context.Context, fl *fleet, f *evacuateFlags) error {
	known, err := e.r.regions(ctx)
	if err != nil {
		return err // one that is not reached may hold pins of the region
	}
	is := func(name docid.Region) (row regionRow, found bool) {
		i := slices.IndexFunc(known, func(row regionRow) bool { return row.Region == name })
		if i < 0 {
			return row, false
		}
		return known[i], true
	}
	if _, found := is(e.region); !found {
		return failed(exitNotFound, "no registry knows a region %s", e.region)
	}
	for _, name := range f.to {
		row, found := is(docid.Region(name))
		if !found || row.Status != kvpin.RegionLive || row.Region == e.region {
			return wrongFlag("to", "%q: expected another region that is live", name)
		}
		e.to = append(e.to, row.Region)
	}
	for _, row := range known {
		if len(f.to) == 0 && row.Status == kvpin.RegionLive && row.Region != e.region {
			e.to = append(e.to, row.Region)
		}
	}
	if len(e.to) == 0 {
		return failed(exitDeclined, "nothing was changed: no other region is live")
	}
	if err := e.checkVersions(ctx); err != nil {
		return err
	}
	if e.nodes, err = fl.nodes(ctx); err != nil {
		return err
	}
	if !slices.ContainsFunc(e.nodes, func(n node) bool { return n.Region == string(e.region) }) {
		return failed(exitUnavailable, "no node of %s answers: name its NATS by --nats-url", e.region)
	}
	pins, err := e.pins(ctx)
	e.left = len(pins)
	return err
}

// checkVersions refuses where a node would not obey the mark.
func (e *evacuation) checkVersions(ctx context.Context) error {
	leases, err := e.r.leases(ctx)
	if err != nil {
		return err
	}
	for _, some := range leases {
		for _, l := range some {
			if l.Region == e.region && !slices.Contains(l.Can, kvpin.CanMove) {
				return failed(exitDeclined, "nothing was changed: node %s of %s is of a version that does not know how documents move", l.Node, l.Region)
			}
		}
	}
	return nil
}

// pins are those of the region.
func (e *evacuation) pins(ctx context.Context) (all []kvpin.PinInfo, err error) {
	for info, err := range e.r.pins(ctx, "", kvpin.PinFilter{Region: e.region}) {
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
		e.c.done("%s", e.progress(len(pins)))
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
	if n, found := mover(e.nodes, info, turn); !found {
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
	case notFound(err): // it has ended
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
		failed.why, failed.again = errorText(err), time.Now().Add(time.Second<<failed.times)
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
	text := fmt.Sprintf("%3.0f s: %s moved, %d left", time.Since(e.began).Seconds(), plural(e.moved, "document"), left)
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

var leftColumns = []column[leftRow]{
	{"DOCUMENT", false, func(r leftRow) string { return r.Document }},
	{"STATE", false, func(r leftRow) string { return r.State }},
	{"WHY", false, func(r leftRow) string { return strings.ReplaceAll(r.Why, "\n", "; ") }},
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
	at := slices.IndexFunc(e.nodes, func(n node) bool { return n.Region == string(e.region) })
	unstored, err := e.nodes[at].Unstored(ctx, e.nodes[at].Node)
	if err != nil {
		return fmt.Errorf("it is not known whether all is stored: %w", err)
	}
	for _, d := range unstored.Documents {
		rows = append(rows, leftRow{d.String(), "unstored", "the history of the region holds what is not stored: it is stored within minutes if the store answers"})
	}
	if len(rows) == 0 {
		e.c.done("%s is evacuated: %s moved in %.0f s, no pin is left, and everything is stored", e.region, plural(e.moved, "document"), time.Since(e.began).Seconds())
		return nil
	}
	if err := printRows(e.c, leftColumns, inMemory(rows, nil)); err != nil {
		return err
	}
	return failed(exitUnhealthy, "%s is not evacuated: %s left, %s histories not stored; %d documents were moved. It stays marked: run this again, or with --undo",
		e.region, plural(len(pins), "pin"), fmt.Sprint(unstored.Count), e.moved)
}
