package docs

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/pins"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// found is a document, where it is pinned and what the nodes that have it say.
type found struct {
	pin   *pins.Row // nil: not known
	stats []control.DocumentStat
	nodes []reach.NodeClient // of stats

	stored *control.Stored // what the store has of it; nil: there is none, or it does not answer
}

// outOfReach is the error of a document that lives where no node is reached.
func (f *found) outOfReach() error {
	return exit.With(exit.Unavailable, "%s is %s in %s, whose nodes are not reached: name its NATS too", f.pin.Document, f.pin.State, f.pin.Region)
}

// findDocument looks a document up in the registry and on the nodes that have it.
// Either is enough: the registry may be away, and the nodes of the pin's region
// out of reach.
func findDocument(ctx context.Context, c *command.Env, fl *reach.Fleet, arg, license string) (*found, error) {
	doc, err := reach.ParseDocument(arg)
	if err != nil {
		return nil, err
	}
	var f found
	pinErr := c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		resolved, err := r.Resolve(ctx, doc, license)
		if err != nil {
			return err
		}
		doc = resolved
		info, err := r.Pin(ctx, doc)
		if err == nil {
			row := pins.NewRow(info)
			f.pin = &row
		}
		return err
	})
	if pinErr != nil && exit.Code(pinErr) == exit.Usage {
		return nil, pinErr
	}
	if doc.License == "" {
		doc.License = docid.LicenseRegion(license)
	}
	if doc.License == "" {
		return nil, pinErr
	}
	nodes, lost := fl.Nodes(ctx)
	type answer struct {
		reach.NodeClient
		stat control.DocumentStat
	}
	answers, err := reach.Gather(nodes, func(n reach.NodeClient) (answer, error) {
		stat, err := n.Stat(ctx, n.Node, control.NewDocument(doc))
		if reach.IsNotFound(err) {
			return answer{}, nil
		}
		return answer{n, stat}, err
	})
	for _, a := range answers {
		if a.stat.Node != "" {
			f.stats, f.nodes = append(f.stats, a.stat), append(f.nodes, a.NodeClient)
		}
	}
	f.stored = storedOf(ctx, nodes, doc)
	if err = errors.Join(pinErr, lost, err); err != nil && len(f.stats) > 0 {
		c.Done("wsctl: not all is known of %s: %s", doc, exit.Text(err))
		return &f, nil
	}
	if err == nil && len(f.stats) == 0 && f.pin.State == kvpin.Free.String() && !storedThere(f.stored) {
		err = exit.With(exit.NotFound, "%s is not pinned, and no node has it open", doc)
	}
	return &f, err
}

// storedOf asks a node that has the store what it has of a document.
func storedOf(ctx context.Context, nodes []reach.NodeClient, doc docid.Document) *control.Stored {
	for _, n := range nodes {
		states, err := n.Stores(ctx, n.Node, false)
		has := func(s control.StoreState) bool { return s.License == doc.License && s.State == control.StoreOK }
		if err != nil || !slices.ContainsFunc(states, has) {
			continue
		}
		if stored, err := n.Stored(ctx, n.Node, control.NewDocument(doc)); err == nil {
			return &stored
		}
	}
	return nil
}

func storedThere(s *control.Stored) bool { return s != nil && s.State != control.StoredAbsent }

// docCommand makes a verb about one document.
func docCommand(c *command.Env, use, short string, run func(ctx context.Context, f *found) error) *cobra.Command {
	var license string
	cmd := &cobra.Command{
		Use:               use + " DOCUMENT",
		Short:             short,
		Args:              command.Exactly("DOCUMENT"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				f, err := findDocument(cmd.Context(), c, fl, args[0], license)
				if err != nil {
					return err
				}
				return run(cmd.Context(), f)
			})
		},
	}
	command.LicenseFlag(c.Clusters, cmd, &license)
	return cmd
}
