package main

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/docname"
)

// pinRow is a pin as it is printed.
type pinRow struct {
	Document string                `json:"document"`
	License  docname.LicenseRegion `json:"license"`
	Tenant   docname.Tenant        `json:"tenant"`
	App      docname.App           `json:"app"`
	Name     string                `json:"name"`
	State    string                `json:"state"`
	Region   kvpin.Region          `json:"region"`
	Nodes    []kvpin.NodeID        `json:"nodes"`
	Since    time.Time             `json:"since,omitzero"`
	Epoch    kvpin.Epoch           `json:"epoch"`
	Revision uint64                `json:"revision"`
}

func newPinRow(info kvpin.PinInfo) pinRow {
	d := info.Document
	row := pinRow{
		Document: d.String(), License: d.License, Tenant: d.Tenant, App: d.App, Name: d.Name, State: info.State.String(),
		Region: info.Pin.Region, Nodes: []kvpin.NodeID{}, Since: info.Pin.Since, Epoch: info.Pin.Epoch, Revision: info.Pin.Revision,
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

func joinNodes(nodes []kvpin.NodeID) string {
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
	fl.StringVar(&f.state, "state", "", "only this state: live, grace or orphaned")
}

func (f *pinFlags) check() error {
	if f.state != "" && !slices.Contains([]string{"live", "grace", "orphaned"}, f.state) {
		return wrongFlag("state", "%q: expected live, grace or orphaned", f.state)
	}
	return nil
}

func (f *pinFlags) filter() kvpin.PinFilter {
	return kvpin.PinFilter{Tenant: docname.Tenant(f.tenant), App: docname.App(f.app), Region: kvpin.Region(f.region)}
}

func (c *cli) pinsCommand() *cobra.Command {
	pins := &cobra.Command{
		Use:   "pins",
		Short: "Which documents live where",
		Args:  cobra.NoArgs,
	}
	var f pinFlags
	list := &cobra.Command{
		Use:   "list",
		Short: "List pins",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.listPins(cmd, &f) },
	}
	f.register(list)
	f.register(pins)
	pins.RunE = list.RunE
	pins.AddCommand(list)
	return pins
}

func (c *cli) listPins(cmd *cobra.Command, f *pinFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	inspector, err := c.reach.inspector(cmd.Context())
	if err != nil {
		return err
	}
	defer inspector.Close()
	return printRows(c, pinColumns, f.pins(cmd, inspector))
}

// pins yields the selected pins of all registries.
func (f *pinFlags) pins(cmd *cobra.Command, inspector *kvpin.Inspector) iter.Seq2[pinRow, error] {
	return func(yield func(pinRow, error) bool) {
		for _, license := range inspector.LicenseRegions() {
			if f.license != "" && f.license != string(license) {
				continue
			}
			for info, err := range inspector.Pins(cmd.Context(), license, f.filter()) {
				if err == nil && f.state != "" && f.state != info.State.String() {
					continue
				}
				if !yield(newPinRow(info), err) {
					return
				}
			}
		}
	}
}
