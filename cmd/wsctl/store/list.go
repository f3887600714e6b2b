package store

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// storedRow is a stored document.
type storedRow struct {
	Document string `json:"document"`
	control.StoreEntry
	Live string `json:"live,omitempty"` // the region in which it is live; empty: in none, or it is not known
}

var storedColumns = []console.Column[storedRow]{
	console.Shown("DOCUMENT", func(r storedRow) string { return r.Document }),
	console.Shown("SIZE KIB", func(r storedRow) string { return console.KiB(int(r.Size)) }),
	console.Shown("STORED", func(r storedRow) string { return console.Ago(r.Time) }),
	console.Shown("STATE", func(r storedRow) string {
		if r.Deleted {
			return control.StoredDeleted
		}
		return control.StoredBody
	}),
	console.Shown("LIVE IN", func(r storedRow) string { return r.Live }),
}

// selectFlags select stored documents.
type selectFlags struct{ tenant, app, prefix string }

func (f *selectFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "only of this tenant")
	cmd.Flags().StringVar(&f.app, "app", "", "only of this app of the tenant")
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "only documents of the app whose names begin so")
}

func (f *selectFlags) request(license docid.LicenseRegion) (control.StoreListRequest, error) {
	if f.app != "" && f.tenant == "" || f.prefix != "" && f.app == "" {
		return control.StoreListRequest{}, exit.WrongFlag("app", "expected --tenant beside it, and --app beside --prefix")
	}
	return control.StoreListRequest{License: license, Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), Name: f.prefix}, nil
}

func listStoreCommand(c *command.Env) *cobra.Command {
	var f storeFlags
	var s selectFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the documents that are stored, and the deleted ones",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if _, err := s.request(""); err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				nodes, err := storeNodes(ctx, fl, &f, docid.LicenseRegion(f.license))
				if err != nil {
					return err
				}
				live, err := livePins(ctx, c.Clusters, nodes, &s)
				if err != nil {
					c.Done("wsctl: it is not known which documents are live: %s", exit.Text(err))
				}
				return console.PrintRows(c.Console, storedColumns, func(yield func(storedRow, error) bool) {
					for e, err := range entries(ctx, nodes, &s) {
						if !yield(storedRow{e.Document.String(), e.StoreEntry, live[e.Document.Docname()]}, err) {
							return
						}
					}
				})
			})
		},
	}
	f.registerAll(c, cmd, "only this license region (dbCode)")
	s.register(cmd)
	return cmd
}

// livePins are the regions of the documents that are live, with an error as far as
// registries are reached.
func livePins(ctx context.Context, nats *reach.Clusters, nodes []storeNode, s *selectFlags) (map[docid.Document]string, error) {
	live := map[docid.Document]string{}
	err := nats.WithRegistries(ctx, func(r *reach.Registries) error {
		for _, n := range nodes {
			i, err := r.Inspector(n.license)
			if err != nil {
				return err
			}
			for info, err := range i.Pins(ctx, n.license, kvpin.PinFilter{Tenant: docid.Tenant(s.tenant), App: docid.App(s.app)}) {
				if err != nil {
					return err
				}
				live[info.Document] = string(info.Pin.Region)
			}
		}
		return nil
	})
	return live, err
}

// entries streams what the stores of nodes have.
func entries(ctx context.Context, nodes []storeNode, s *selectFlags) iter.Seq2[storedAt, error] {
	return func(yield func(storedAt, error) bool) {
		for _, n := range nodes {
			r, err := s.request(n.license)
			if err != nil {
				yield(storedAt{}, err)
				return
			}
			for e, err := range n.StoreList(ctx, n.Node, r) {
				if !yield(storedAt{n, e}, err) {
					return
				}
			}
		}
	}
}

// storedAt is a stored document and the way to it.
type storedAt struct {
	storeNode
	control.StoreEntry
}
