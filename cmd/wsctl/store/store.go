// Package store shows and changes what is stored of documents, through nodes that have the
// store.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
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

func (f *storeFlags) register(c *command.Env, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.node, "node", "", "node to go through (default: the first one that has the store)")
	command.LicenseFlag(c.Clusters, cmd, &f.license)
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

// storeRow is a store as a node has it.
type storeRow struct {
	Node   string `json:"node"`
	Region string `json:"region"`
	control.StoreState
}

var storeColumns = []console.Column[storeRow]{
	console.Shown("NODE", func(r storeRow) string { return r.Node }),
	console.Wide("REGION", func(r storeRow) string { return r.Region }),
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
					for _, n := range nodes {
						r, _ := s.request(n.license) // as before
						for e, err := range n.StoreList(ctx, n.Node, r) {
							if !yield(storedRow{e.Document.String(), e, live[e.Document.Docname()]}, err) {
								return
							}
						}
					}
				})
			})
		},
	}
	f.register(c, cmd)
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

func getStoreCommand(c *command.Env) *cobra.Command {
	var file string
	var force bool
	var v versionFlags
	cmd := storeDocCommand(c, "get DOCUMENT", "Write what is stored of a document to a file that Y.applyUpdate reads", []string{"DOCUMENT"},
		func(cmd *cobra.Command, n storeNode, d control.Document, _ []string) error {
			version, err := v.find(cmd.Context(), n, d)
			if err != nil {
				return err
			}
			fetch := func(w io.Writer) error {
				p := c.Progress("read", d.String())
				defer p.End()
				done := 0
				return n.Fetch(cmd.Context(), n.Node, d, version, func(part []byte, size int) error {
					done += len(part)
					p.Bytes(done, size)
					_, err := w.Write(part)
					return err
				})
			}
			var size int64
			if file == "-" {
				err = fetch(c.Out)
			} else if size, err = console.WriteFile(file, force, fetch); err == nil {
				c.Done("wrote %s, %s, from the store of %s", file, console.Bytes(size), d.License)
			}
			if reach.IsGone(err) {
				err = exit.With(exit.NotFound, "%w", err)
			}
			return err
		})
	cmd.Flags().StringVarP(&file, "file", "f", "-", "file to write; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	v.register(cmd)
	return cmd
}

// putFlags say how a document is put into a store.
type putFlags struct{ create, undelete, dryRun bool }

func (f *putFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.create, "create", false, "only if nothing is stored of it")
	cmd.Flags().BoolVar(&f.undelete, "undelete", false, "also if it was deleted")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "change nothing, say what would be")
}

func (f *putFlags) request(d control.Document) control.StorePutRequest {
	return control.StorePutRequest{Document: d, Create: f.create, Undelete: f.undelete, DryRun: f.dryRun}
}

func putStoreCommand(c *command.Env) *cobra.Command {
	var f putFlags
	var sure console.ConfirmFlag
	cmd := storeDocCommand(c, "put DOCUMENT FILE", "Merge a Yjs update into what is stored of a document", []string{"DOCUMENT", "FILE"},
		func(cmd *cobra.Command, n storeNode, d control.Document, args []string) error {
			update, err := readUpdate(c.Console, args[0])
			if err != nil {
				return err
			}
			if !f.dryRun {
				if err := c.Confirm(&sure, "Merge %s into the stored %s?", console.Bytes(len(update)), d); err != nil {
					return err
				}
			}
			p := c.Progress("sent", d.String())
			result, err := n.StorePut(cmd.Context(), n.Node, f.request(d), update, func(done int) { p.Bytes(done, len(update)) })
			p.End()
			if err != nil {
				return whatInstead(err, d)
			}
			return printResult(c.Console, d, result, f.dryRun)
		})
	cmd.Long = `Merge a Yjs V1 update, which Y.encodeStateAsUpdate writes, into what is stored of
a document. The file - is standard input. What is there stays: a document is
never replaced, since the clients that have its former state would bring it back.

A document that is live is refused: give the update to one of its clients, or
wait until its users have left and the grace period is over.`
	f.register(cmd)
	sure.Register(cmd)
	return cmd
}

func readUpdate(c *console.Console, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.In)
	}
	return os.ReadFile(file)
}

// whatInstead says what to do about a document that is live.
func whatInstead(err error, d control.Document) error {
	var refused *control.Error
	if errors.As(err, &refused) && refused.Code == control.CodeConflict {
		return exit.With(exit.Declined, "nothing was changed: %w; if it is live, have a client apply the update, or wait until its users have left (wsctl pins watch %s)", err, d)
	}
	if errors.As(err, &refused) && refused.Code == control.CodeGone {
		return exit.With(exit.Declined, "nothing was changed: %w; --undelete brings it back", err)
	}
	return err
}

func printResult(c *console.Console, d control.Document, r control.StoreResult, dry bool) error {
	if c.JSON() {
		return c.Value(struct {
			Document string `json:"document"`
			control.StoreResult
			DryRun bool `json:"dryRun,omitempty"`
		}{d.String(), r, dry})
	}
	would := ""
	if dry {
		would = "would be "
	}
	c.Done("%s: %s%s, %s", d, would, r.Outcome, console.Bytes(int(r.Size)))
	return nil
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
