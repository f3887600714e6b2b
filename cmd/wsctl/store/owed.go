package store

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/pins"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
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

var owedColumns = []console.Column[owedRow]{
	console.Shown("DOCUMENT", func(r owedRow) string { return r.Document }),
	console.Shown("REGION", func(r owedRow) string { return string(r.Region) }),
	console.Shown("LEFT", func(r owedRow) string { return console.Ago(r.Left) }),
	console.Wide("EPOCH", func(r owedRow) string { return string(r.Epoch) }),
}

func owedStoreCommand(c *command.Env) *cobra.Command {
	var f pins.Flags
	cmd := &cobra.Command{
		Use:   "debts",
		Short: "List the documents whose users left before all was stored",
		Long: `List the documents whose users left before all was stored. The history of their
region keeps them, and the region stores them as soon as the store takes them; until
then it has their pins, and users go on there.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
				return console.PrintRows(c.Console, owedColumns, func(yield func(owedRow, error) bool) {
					for info, err := range f.Pins(ctx, r) {
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
	f.Register(c, cmd)
	return cmd
}
