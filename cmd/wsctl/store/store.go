// Package store shows and changes what is stored of documents, through nodes that have the
// store.
package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// Command makes the noun store.
func Command(c *command.Env) *cobra.Command {
	return command.Noun("store", "Where documents are kept after their last user", []*cobra.Command{
		checkStoreCommand(c), listStoreCommand(c), owedStoreCommand(c), getStoreCommand(c), versionsStoreCommand(c), exportStoreCommand(c),
	}, []*cobra.Command{
		initStoreCommand(c), forgetStoreCommand(c), putStoreCommand(c), deleteStoreCommand(c), dropStoreCommand(c), importStoreCommand(c), adoptStoreCommand(c),
		acceptStoreCommand(c),
	})
}

// storeFlags say through which node, and in which license region.
type storeFlags struct {
	node, license string
}

// register adds the flags to a verb about one document.
func (f *storeFlags) register(c *command.Env, cmd *cobra.Command) {
	f.registerAll(c, cmd, "license region (dbCode), if the document is given without")
}

// registerAll adds the flags to a verb about several documents. license is the help of
// --license.
func (f *storeFlags) registerAll(c *command.Env, cmd *cobra.Command, license string) {
	cmd.Flags().StringVar(&f.node, "node", "", "node to go through (default: the first one that has the store)")
	cmd.Flags().StringVar(&f.license, "license", "", license)
	command.CompleteFlags(c.Clusters, cmd)
}

// storeNode is a node and the license region whose store it has.
type storeNode struct {
	reach.NodeClient
	license docid.LicenseRegion
}

// storeNodes finds a node for the store of each license region, or of one.
func storeNodes(ctx context.Context, fl *reach.Fleet, f *storeFlags, license docid.LicenseRegion) ([]storeNode, error) {
	var names []string
	if f.node != "" {
		names = []string{f.node}
	}
	nodes, err := fl.Some(ctx, names)
	if len(nodes) == 0 {
		return nil, err
	}
	errs := []error{err}
	var found []storeNode
	for _, n := range nodes {
		states, err := n.Stores(ctx, n.Node, false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, s := range states {
			have := slices.ContainsFunc(found, func(o storeNode) bool { return o.license == s.License })
			if have || license != "" && s.License != license {
				continue
			}
			if s.State != control.StoreOK {
				errs = append(errs, exit.With(exit.Unavailable, "node %s: store of %s is %s: %s", n.Node, s.License, s.State, s.Detail))
				continue
			}
			found = append(found, storeNode{n, s.License})
		}
		if license != "" && len(found) > 0 {
			return found, nil
		}
	}
	if len(found) == 0 {
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		return nil, exit.With(exit.NotFound, "no node has a store%s: documents end with their last user", forLicense(license))
	}
	return found, nil
}

func forLicense(license docid.LicenseRegion) string {
	if license == "" {
		return ""
	}
	return " for " + string(license)
}

// storedDocument finds a document's license region and a node with its store. Without a
// license region it is the one whose store has the document, or the only one.
func storedDocument(ctx context.Context, fl *reach.Fleet, f *storeFlags, arg string) (storeNode, control.Document, error) {
	doc, err := reach.ParseDocument(arg)
	if err != nil {
		return storeNode{}, control.Document{}, err
	}
	if f.license != "" {
		doc.License = docid.LicenseRegion(f.license)
	}
	nodes, err := storeNodes(ctx, fl, f, doc.License)
	if err != nil {
		return storeNode{}, control.Document{}, err
	}
	if len(nodes) == 1 {
		doc.License = nodes[0].license
		return nodes[0], control.NewDocument(doc), nil
	}
	var having []storeNode
	for _, n := range nodes {
		doc.License = n.license
		stored, err := n.Stored(ctx, n.Node, control.NewDocument(doc))
		if err != nil {
			return storeNode{}, control.Document{}, err
		}
		if stored.State != control.StoredAbsent {
			having = append(having, n)
		}
	}
	if len(having) != 1 {
		code := exit.Usage
		if len(having) == 0 {
			code = exit.NotFound
		}
		var licenses []string
		for _, n := range nodes {
			licenses = append(licenses, string(n.license))
		}
		return storeNode{}, control.Document{}, exit.With(code, "%s is in the stores of %d license regions: say which by --license (%s)", arg, len(having), strings.Join(licenses, ", "))
	}
	doc.License = having[0].license
	return having[0], control.NewDocument(doc), nil
}

// storeDocCommand makes a verb about one stored document.
func storeDocCommand(c *command.Env, use, short string, args []string, run func(cmd *cobra.Command, n storeNode, d control.Document, args []string) error) *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Args: command.Exactly(args...),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				n, d, err := storedDocument(cmd.Context(), fl, &f, given[0])
				if err != nil {
					return err
				}
				return run(cmd, n, d, given[1:])
			})
		},
	}
	f.register(c, cmd)
	return cmd
}
