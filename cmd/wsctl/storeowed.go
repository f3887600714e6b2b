package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// owedRow is a document whose users left before all was stored.
type owedRow struct {
	Document string       `json:"document"`
	Region   docid.Region `json:"region"` // whose history keeps it, and which stores it
	Left     time.Time    `json:"left,omitzero"`
	Epoch    kvpin.Epoch  `json:"epoch"`
}

var owedColumns = []column[owedRow]{
	{"DOCUMENT", false, func(r owedRow) string { return r.Document }},
	{"REGION", false, func(r owedRow) string { return string(r.Region) }},
	{"LEFT", false, func(r owedRow) string { return ago(r.Left) }},
	{"EPOCH", true, func(r owedRow) string { return string(r.Epoch) }},
}

func (c *cli) owedStoreCommand() *cobra.Command {
	var f pinFlags
	cmd := &cobra.Command{
		Use:   "debts",
		Short: "List the documents whose users left before all was stored",
		Long: `List the documents whose users left before all was stored. The history of their
region keeps them, and the region stores them as soon as the store takes them; until
then it has their pins, and users go on there.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.withRegistries(ctx, func(r *registries) error {
				return printRows(c, owedColumns, func(yield func(owedRow, error) bool) {
					for info, err := range r.pins(ctx, f.license, f.filter()) {
						if err == nil && info.State != kvpin.Owed {
							continue
						}
						if !yield(owedRow{info.Document.String(), info.Pin.Region, info.Pin.Left, info.Pin.Epoch}, err) {
							return
						}
					}
				})
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.tenant, "tenant", "", "only of this tenant")
	fl.StringVar(&f.app, "app", "", "only of this app")
	fl.StringVar(&f.region, "region", "", "only of this WebSocket region")
	fl.StringVar(&f.license, "license", "", "only of this license region (dbCode)")
	c.completeFlags(cmd)
	return cmd
}
