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
)

// pinRow is a pin as it is printed.
type pinRow struct {
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

func newPinRow(info kvpin.PinInfo) pinRow {
	d := info.Document
	row := pinRow{
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

var pinColumns = []column[pinRow]{
	{"DOCUMENT", false, func(r pinRow) string { return r.Document }},
	{"STATE", false, func(r pinRow) string { return r.State }},
	{"REGION", false, func(r pinRow) string { return string(r.Region) }},
	{"NODES", false, func(r pinRow) string { return joinNodes(r.Nodes) }},
	{"SINCE", false, func(r pinRow) string { return ago(r.Since) }},
	{"EPOCH", true, func(r pinRow) string { return string(r.Epoch) }},
	{"REVISION", true, func(r pinRow) string { return count(r.Revision) }},
}

func joinNodes(nodes []docid.NodeID) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = string(n)
	}
	return strings.Join(words, ",")
}

// pinFlags select pins.
type pinFlags struct {
	tenant, app, region, license, state string
}

func (f *pinFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant")
	fl.StringVar(&f.app, "app", "", "only this app")
	fl.StringVar(&f.region, "region", "", "only this WebSocket region")
	fl.StringVar(&f.license, "license", "", "only this license region (dbCode)")
	fl.StringVar(&f.state, "state", "", "only this state: live, grace, orphaned or owed")
}

func (f *pinFlags) check() error {
	if f.state != "" && !slices.Contains([]string{"live", "grace", "orphaned", "owed"}, f.state) {
		return wrongFlag("state", "%q: expected live, grace, orphaned or owed", f.state)
	}
	return nil
}

func (f *pinFlags) filter() kvpin.PinFilter {
	return kvpin.PinFilter{Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), Region: docid.Region(f.region)}
}

func (c *cli) pinsCommand() *cobra.Command {
	var f pinFlags
	var w watchFlags
	list := &cobra.Command{
		Use:   "list",
		Short: "List pins; also plain wsctl pins",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.repeat(cmd.Context(), &w, func() error { return c.listPins(cmd.Context(), &f) })
		},
	}
	pins := noun("pins", "Which documents live where", []*cobra.Command{list, c.getPinCommand(), c.watchPinsCommand()}, []*cobra.Command{c.movePinCommand(), c.releasePinCommand()})
	pins.RunE = list.RunE
	for _, cmd := range []*cobra.Command{list, pins} {
		f.register(cmd)
		w.register(cmd)
		c.completeFlags(cmd)
	}
	return pins
}

func (c *cli) listPins(ctx context.Context, f *pinFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	return c.withRegistries(ctx, func(r *registries) error {
		return printRows(c, pinColumns, func(yield func(pinRow, error) bool) {
			for info, err := range r.pins(ctx, f.license, f.filter()) {
				if err == nil && f.state != "" && f.state != info.State.String() {
					continue
				}
				if !yield(newPinRow(info), err) {
					return
				}
			}
		})
	})
}

func (c *cli) getPinCommand() *cobra.Command {
	var license string
	cmd := &cobra.Command{
		Use:               "get DOCUMENT",
		Short:             "Show one pin; exit code 3 if there is none",
		Args:              exactly("DOCUMENT"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPin(cmd.Context(), args[0], license, func(_ *registries, info kvpin.PinInfo, unreadable error) error {
				if unreadable != nil {
					return unreadable
				}
				return printOne(c, pinColumns, newPinRow(info))
			})
		},
	}
	c.licenseFlag(cmd, &license)
	return cmd
}

func (c *cli) licenseFlag(cmd *cobra.Command, license *string) {
	cmd.Flags().StringVar(license, "license", "", "license region (dbCode), if the document is given without")
	c.completeFlags(cmd)
}

// withPin looks a document's pin up; it is an error if there is none. There may be
// one that cannot be read.
func (c *cli) withPin(ctx context.Context, arg, license string, f func(r *registries, info kvpin.PinInfo, unreadable error) error) error {
	doc, err := parseDocument(arg)
	if err != nil {
		return err
	}
	return c.withRegistries(ctx, func(r *registries) error {
		if doc, err = r.resolve(ctx, doc, license); err != nil {
			return err
		}
		info, err := r.pin(ctx, doc)
		switch {
		case info.Pin.Revision > 0:
			return f(r, info, err)
		case err == nil:
			err = failed(exitNotFound, "%s is not pinned", doc)
		}
		return err
	})
}

func (c *cli) releasePinCommand() *cobra.Command {
	var license string
	var force bool
	var yes confirmFlag
	cmd := &cobra.Command{
		Use:   "release DOCUMENT",
		Short: "Delete a pin that is stuck; a live one only with --force",
		Long: `Delete a pin that is stuck: an orphan that no region takes up, a grace period that
need not be awaited, or one that cannot be read. The document's content is gone
with it, unless clients bring it back. A live pin is refused without --force: the
nodes that hold it are told and pin the document again within seconds.`,
		Args:              exactly("DOCUMENT"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPin(cmd.Context(), args[0], license, func(r *registries, info kvpin.PinInfo, unreadable error) error {
				what := fmt.Sprintf("%s pin of %s in %s", info.State, info.Document, info.Pin.Region)
				if unreadable != nil {
					what = fmt.Sprintf("pin of %s, which cannot be read", info.Document)
				}
				if info.State == kvpin.Live && !force {
					return failed(exitDeclined, "%s is live on %s: nothing was changed; --force releases it all the same",
						info.Document, joinNodes(newPinRow(info).Nodes))
				}
				if err := c.confirm(&yes, "Release the %s?", what); err != nil {
					return err
				}
				err := r.unpin(cmd.Context(), info)
				if errors.Is(err, kvpin.ErrConflict) {
					return failed(exitDeclined, "%s has changed meanwhile: look again", info.Document)
				}
				if err == nil {
					c.done("released %s", info.Document)
				}
				return err
			})
		},
	}
	c.licenseFlag(cmd, &license)
	cmd.Flags().BoolVar(&force, "force", false, "also if the pin is live")
	yes.register(cmd)
	return cmd
}

// pinChange is a line of pins watch.
type pinChange struct {
	At time.Time `json:"at"`
	pinRow
}

func (c *cli) watchPinsCommand() *cobra.Command {
	var f pinFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print each pin and then each change of one, until Ctrl-C",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			return watchError(ctx, c.withRegistries(ctx, func(r *registries) error { return c.watchPins(ctx, r, &f) }))
		},
	}
	f.register(cmd)
	c.completeFlags(cmd)
	return cmd
}

func (c *cli) watchPins(ctx context.Context, r *registries, f *pinFlags) error {
	columns := append([]column[pinChange]{{"AT", false, func(p pinChange) string { return clockTime(p.At) }}}, widen(pinColumns, func(p pinChange) pinRow { return p.pinRow })...)
	changes := newEvents(c, columns)
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost, watched := r.lost, 0
	for _, license := range r.chosen(f.license) {
		i, err := r.inspector(license)
		if err != nil {
			lost = errors.Join(lost, err)
			continue
		}
		watched++
		wait.Go(func() {
			err := i.WatchPins(ctx, license, f.filter(), func(info kvpin.PinInfo) {
				if f.state == "" || f.state == info.State.String() || info.State == kvpin.Free {
					if err := changes.print(pinChange{time.Now(), newPinRow(info)}); err != nil {
						cancel(closedError{err})
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
		c.done("wsctl: %v", lost)
	}
	wait.Wait()
	return context.Cause(ctx)
}
