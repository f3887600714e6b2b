package store

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// storeRow is a store as a node has it.
type storeRow struct {
	Node   docid.NodeID `json:"node"`
	Region docid.Region `json:"region"`
	control.StoreState
}

var storeColumns = []console.Column[storeRow]{
	console.Shown("NODE", func(r storeRow) string { return string(r.Node) }),
	console.Wide("REGION", func(r storeRow) string { return string(r.Region) }),
	console.Shown("LICENSE", func(r storeRow) string { return string(r.License) }),
	console.Shown("STATE", func(r storeRow) string { return r.State }),
	console.Shown("STORE", func(r storeRow) string { return r.ID }),
	console.Shown("CHECK MS", func(r storeRow) string { return fmt.Sprintf("%.1f", r.CheckMS) }),
	console.Shown("DETAIL", func(r storeRow) string { return r.Detail }),
}

func checkStoreCommand(c *command.Env) *cobra.Command {
	var nodes []string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Have each node try out its stores",
		Long: `Have each node look whether its stores are those that the registry names, and
try out whether they obey the conditions of writes. The exit code is 6 if one
does not.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				some, err := fl.Some(cmd.Context(), nodes)
				if len(some) == 0 {
					return err
				}
				wrong, rows := 0, 0
				err = errors.Join(err, console.PrintRows(c.Console, storeColumns, func(yield func(storeRow, error) bool) {
					for _, n := range some {
						states, err := n.Stores(cmd.Context(), n.Node, true)
						if err != nil && !yield(storeRow{}, err) {
							return
						}
						for _, s := range states {
							if rows++; s.State != control.StoreOK {
								wrong++
							}
							if !yield(storeRow{n.Node, n.Region, s}, nil) {
								return
							}
						}
					}
				}))
				switch {
				case err != nil:
					return err
				case wrong > 0:
					return exit.With(exit.Unhealthy, "%s not ok", console.Plural(wrong, "store"))
				case rows == 0:
					c.Done("no node has a store: documents end with their last user")
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&nodes, "node", nil, "node to ask (default: all); repeat for more")
	return cmd
}
