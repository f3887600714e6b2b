// Package pins shows, moves and releases pins.
package pins

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
)

// Row is a pin as it is printed.
type Row struct {
	Document string              `json:"document"`
	License  docid.LicenseRegion `json:"license"`
	Tenant   docid.Tenant        `json:"tenant"`
	App      docid.App           `json:"app"`
	Name     string              `json:"name"`
	State    string              `json:"state"`
	Region   docid.Region        `json:"region"`
	Nodes    []docid.NodeID      `json:"nodes"`
	Since    time.Time           `json:"since,omitzero"`
	Epoch    kvpin.Epoch         `json:"epoch"`
	Revision uint64              `json:"revision"`
	MovingTo docid.Region        `json:"movingTo,omitempty"`
}

// NewRow makes the row of a pin.
func NewRow(info kvpin.PinInfo) Row {
	d := info.Document
	row := Row{
		Document: d.String(), License: d.License, Tenant: d.Tenant, App: d.App, Name: d.Name, State: info.State.String(),
		Region: info.Pin.Region, Nodes: []docid.NodeID{}, Since: info.Pin.Since, Epoch: info.Pin.Epoch, Revision: info.Pin.Revision,
	}
	if info.Pin.Moving != nil {
		row.MovingTo = info.Pin.Moving.To
	}
	for _, h := range info.Pin.Holders {
		row.Nodes = append(row.Nodes, h.Node)
	}
	return row
}

// Columns are those of tables of pins.
var Columns = []console.Column[Row]{
	console.Shown("DOCUMENT", func(r Row) string { return r.Document }),
	console.Shown("STATE", func(r Row) string { return r.State }),
	console.Shown("REGION", func(r Row) string { return string(r.Region) }),
	console.Shown("NODES", func(r Row) string { return joinNodes(r.Nodes) }),
	console.Shown("SINCE", func(r Row) string { return console.Ago(r.Since) }),
	console.Wide("EPOCH", func(r Row) string { return string(r.Epoch) }),
	console.Wide("REVISION", func(r Row) string { return console.Count(r.Revision) }),
}

func joinNodes(nodes []docid.NodeID) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = string(n)
	}
	return strings.Join(words, ",")
}

// Flags select pins.
type Flags struct {
	tenant, app, region, license string
}

// Register adds the flags, with completions.
func (f *Flags) Register(c *command.Env, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant")
	fl.StringVar(&f.app, "app", "", "only this app")
	fl.StringVar(&f.region, "region", "", "only this WebSocket region")
	fl.StringVar(&f.license, "license", "", "only this license region (dbCode)")
	command.CompleteFlags(c.Clusters, cmd)
}

// filter is what registries are asked for.
func (f *Flags) filter() kvpin.PinFilter {
	return kvpin.PinFilter{Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), Region: docid.Region(f.region)}
}

// Pins streams the pins that are selected.
func (f *Flags) Pins(ctx context.Context, r *reach.Registries) iter.Seq2[kvpin.PinInfo, error] {
	return r.Pins(ctx, f.license, f.filter())
}

// stateFlags select pins, also by their state, which registries are not asked for.
type stateFlags struct {
	Flags
	state string
}

func (f *stateFlags) register(c *command.Env, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.state, "state", "", "only this state: live, grace, orphaned or owed")
	f.Register(c, cmd)
}

func (f *stateFlags) check() error {
	if f.state != "" && !slices.Contains(command.PinStates, f.state) {
		return exit.WrongFlag("state", "%q: expected live, grace, orphaned or owed", f.state)
	}
	return nil
}

func (f *stateFlags) take(info kvpin.PinInfo) bool {
	return f.state == "" || f.state == info.State.String()
}

// Command makes the noun pins.
func Command(c *command.Env) *cobra.Command {
	var f stateFlags
	var w command.WatchFlags
	list := &cobra.Command{
		Use:   "list",
		Short: "List pins; also plain wsctl pins",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return w.Repeat(cmd.Context(), c, func() error { return listPins(cmd.Context(), c, &f) })
		},
	}
	pins := command.Noun("pins", "Which documents live where", []*cobra.Command{list, getPinCommand(c), watchPinsCommand(c)}, []*cobra.Command{movePinCommand(c), releasePinCommand(c)})
	pins.RunE = list.RunE
	for _, cmd := range []*cobra.Command{list, pins} {
		f.register(c, cmd)
		w.Register(cmd)
	}
	return pins
}

func listPins(ctx context.Context, c *command.Env, f *stateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		return console.PrintRows(c.Console, Columns, func(yield func(Row, error) bool) {
			for info, err := range f.Pins(ctx, r) {
				if err == nil && !f.take(info) {
					continue
				}
				if !yield(NewRow(info), err) {
					return
				}
			}
		})
	})
}

func getPinCommand(c *command.Env) *cobra.Command {
	var license string
	cmd := &cobra.Command{
		Use:               "get DOCUMENT",
		Short:             "Show one pin; exit code 3 if there is none",
		Args:              command.Exactly("DOCUMENT"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPin(cmd.Context(), c, args[0], license, func(_ *reach.Registries, info kvpin.PinInfo, unreadable error) error {
				if unreadable != nil {
					return unreadable
				}
				return console.PrintOne(c.Console, Columns, NewRow(info))
			})
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
	return cmd
}

// withPin looks a document's pin up; it is an error if there is none. There may be
// one that cannot be read.
func withPin(ctx context.Context, c *command.Env, arg, license string, f func(r *reach.Registries, info kvpin.PinInfo, unreadable error) error) error {
	doc, err := reach.ParseDocument(arg)
	if err != nil {
		return err
	}
	return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		if doc, err = r.Resolve(ctx, doc, license); err != nil {
			return err
		}
		info, err := r.Pin(ctx, doc)
		switch {
		case info.Pin.Revision > 0:
			return f(r, info, err)
		case err == nil:
			err = exit.With(exit.NotFound, "%s is not pinned", doc)
		}
		return err
	})
}

func releasePinCommand(c *command.Env) *cobra.Command {
	var license string
	var force bool
	var yes console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "release DOCUMENT",
		Short: "Delete a pin that is stuck; a live one only with --force",
		Long: `Delete a pin that is stuck: an orphan that no region takes up, a grace period that
need not be awaited, or one that cannot be read. Without a store the document's
content is gone with it, unless clients bring it back; with one, what is stored
stays. A live pin is refused without --force: the nodes that hold it are told and
pin the document again within seconds.`,
		Args:              command.Exactly("DOCUMENT"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPin(cmd.Context(), c, args[0], license, func(r *reach.Registries, info kvpin.PinInfo, unreadable error) error {
				what := fmt.Sprintf("%s pin of %s in %s", info.State, info.Document, info.Pin.Region)
				if unreadable != nil {
					what = fmt.Sprintf("pin of %s, which cannot be read", info.Document)
				}
				if info.State == kvpin.Live && !force {
					return exit.With(exit.Declined, "%s is live on %s: nothing was changed; --force releases it all the same",
						info.Document, joinNodes(NewRow(info).Nodes))
				}
				if err := c.Confirm(&yes, "Release the %s?", what); err != nil {
					return err
				}
				err := r.Unpin(cmd.Context(), info)
				if errors.Is(err, kvpin.ErrConflict) {
					return exit.With(exit.Declined, "%s has changed meanwhile: look again", info.Document)
				}
				if err == nil {
					c.Done("released %s", info.Document)
				}
				return err
			})
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
	cmd.Flags().BoolVar(&force, "force", false, "also if the pin is live")
	yes.Register(cmd)
	return cmd
}

// pinChange is a line of pins watch.
type pinChange struct {
	At time.Time `json:"at"`
	Row
}

func watchPinsCommand(c *command.Env) *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print each pin and then each change of one, until Ctrl-C",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			return command.WatchError(ctx, c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error { return watchPins(ctx, c, r, &f) }))
		},
	}
	f.register(c, cmd)
	return cmd
}

func watchPins(ctx context.Context, c *command.Env, r *reach.Registries, f *stateFlags) error {
	columns := append([]console.Column[pinChange]{console.Shown("AT", func(p pinChange) string { return console.ClockTime(p.At) })}, console.Widen(Columns, func(p pinChange) Row { return p.Row })...)
	changes := console.NewEvents(c.Console, columns)
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost, watched := r.Lost, 0
	for _, license := range r.Chosen(f.license) {
		i, err := r.Inspector(license)
		if err != nil {
			lost = errors.Join(lost, err)
			continue
		}
		watched++
		wait.Go(func() {
			err := i.WatchPins(ctx, license, f.filter(), func(info kvpin.PinInfo) {
				if f.take(info) || info.State == kvpin.Free {
					if err := changes.Print(pinChange{time.Now(), NewRow(info)}); err != nil {
						cancel(err)
					}
				}
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	switch {
	case watched == 0:
		return lost
	case lost != nil:
		c.Done("wsctl: %v", lost)
	}
	wait.Wait()
	return context.Cause(ctx)
}
