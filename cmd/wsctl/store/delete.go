package store

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// deleteFlags say what is deleted of the store.
type deleteFlags struct {
	store       storeFlags
	sure        console.ConfirmFlag
	erase       bool
	tenant, app string
}

func deleteStoreCommand(c *command.Env) *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "delete DOCUMENT | --tenant TENANT [--app APP]",
		Short: "Delete a stored document, or all of a tenant",
		Long: `Put a tombstone in the place of a document, or of all documents of a tenant or of
one of its apps. If it is live, in whatever region, its sessions end for good (4404),
and its history is purged: it is done when every node that has it open has closed
it, or is dead. Exit code 4 says that it is deleted, and that some node has not
said so yet.

Clients that were away and still have it are not let in with it; wsctl store put
--undelete brings the name back. Its former versions stay, with what was there last,
unless --erase is given. Backups and copies in browsers are out of reach.

With --tenant it says of each document what was removed (-o json to keep it). It needs
the registries, which know what is live and not stored yet. It can be interrupted, and
repeated until nothing is left.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (len(args) == 0) == (f.tenant == ""):
				return exit.With(exit.Usage, "expected a document, or --tenant")
			case f.app != "" && f.tenant == "":
				return exit.WrongFlag("app", "expected --tenant beside it")
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				if f.tenant != "" {
					return deleteTenant(cmd.Context(), c, fl, &f)
				}
				n, d, err := storedDocument(cmd.Context(), fl, &f.store, args[0])
				if err != nil {
					return err
				}
				return deleteStored(cmd.Context(), c, n, d, &f)
			})
		},
	}
	f.store.registerAll(c, cmd, "license region (dbCode): of a document that is given without, or with --tenant only this one")
	f.sure.Register(cmd)
	cmd.Flags().BoolVar(&f.erase, "erase", false, "remove former versions, too")
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "all documents of this tenant")
	cmd.Flags().StringVar(&f.app, "app", "", "only those of this app of the tenant")
	return cmd
}

// deleteStored deletes one document.
func deleteStored(ctx context.Context, c *command.Env, n storeNode, d control.Document, f *deleteFlags) error {
	if err := c.Confirm(&f.sure, "Delete %s? Who has it open is thrown out, and clients that come back with it are told that it is deleted.", d); err != nil {
		return err
	}
	result, err := n.StoreDelete(ctx, n.Node, d)
	if err != nil {
		return whatInstead(err, d)
	}
	if err := printResult(c.Console, d, result, false); err != nil || !f.erase {
		return err
	}
	return erase(ctx, c, n, d)
}

// erase removes the versions of a document that was deleted, and says what it could not
// reach.
func erase(ctx context.Context, c *command.Env, n storeNode, d control.Document) error {
	erased, err := n.StoreErase(ctx, n.Node, d)
	if err != nil {
		return exit.With(exit.Unhealthy, "%s is deleted, but its versions are not all erased: repeat it: %w", d, err)
	}
	c.Done("%s: %s erased", d, console.Plural(erased.Versions, "version"))
	if erased.Detail != "" {
		c.Done("%s", erased.Detail)
	}
	c.Done("out of reach: copies in browsers, exports, and backups of the store")
	return nil
}

// removedRow is what was removed of a document.
type removedRow struct {
	Document string `json:"document"`
	Outcome  string `json:"outcome"` // deleted, unchanged: it was already, kept: it could not be
	Versions int    `json:"versions,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

const outcomeKept = "kept"

var removedColumns = []console.Column[removedRow]{
	console.Shown("DOCUMENT", func(r removedRow) string { return r.Document }),
	console.Shown("OUTCOME", func(r removedRow) string { return r.Outcome }),
	console.Shown("VERSIONS", func(r removedRow) string { return fmt.Sprint(r.Versions) }),
	console.Shown("DETAIL", func(r removedRow) string { return r.Detail }),
}

// deletion is a document that is to be deleted, and the way to it.
type deletion struct {
	node     storeNode
	document control.Document
	deleted  bool // it is; what may be left are nodes that have not closed it yet, and versions
}

// toDelete lists what the stores have of a tenant, and what is live of it.
func toDelete(ctx context.Context, c *command.Env, fl *reach.Fleet, f *deleteFlags) ([]deletion, error) {
	nodes, err := storeNodes(ctx, fl, &f.store, docid.LicenseRegion(f.store.license))
	if err != nil {
		return nil, err
	}
	s := selectFlags{tenant: f.tenant, app: f.app}
	var all []deletion
	seen := map[docid.Document]bool{}
	listing := c.Progress("listed", "documents")
	defer listing.End()
	for e, err := range entries(ctx, nodes, &s) {
		if err != nil {
			return nil, err
		}
		seen[e.Document.Docname()] = true
		all = append(all, deletion{e.storeNode, e.Document, e.Deleted})
		listing.Count(len(all), 0)
	}
	live, err := livePins(ctx, c.Clusters, nodes, &s)
	if err != nil { // an erasure that leaves what nobody has stored yet is none
		return nil, fmt.Errorf("nothing was deleted, since it is not known which documents are live: %w", err)
	}
	for d := range live {
		at := slices.IndexFunc(nodes, func(n storeNode) bool { return n.license == d.License })
		if !seen[d] && at >= 0 {
			all = append(all, deletion{nodes[at], control.NewDocument(d), false})
		}
	}
	return all, nil
}

// deletedAtOnce is how many documents are deleted at the same time.
const deletedAtOnce = 8

// deleteTenant deletes all documents of a tenant, or of one of its apps.
func deleteTenant(ctx context.Context, c *command.Env, fl *reach.Fleet, f *deleteFlags) error {
	all, err := toDelete(ctx, c, fl, f)
	if err != nil {
		return err
	}
	there := len(slices.DeleteFunc(slices.Clone(all), func(d deletion) bool { return d.deleted }))
	of := f.tenant
	if f.app != "" {
		of += "/" + f.app
	}
	if len(all) == 0 {
		c.Done("nothing is stored of %s", of)
		return nil
	}
	versions := ""
	if f.erase {
		versions = ", and all former versions"
	}
	if err := c.Confirm(&f.sure, "Delete %s of %s%s?", console.Plural(there, "document"), of, versions); err != nil {
		return err
	}
	var sum removedSum
	err = console.PrintRows(c.Console, removedColumns, func(yield func(removedRow, error) bool) {
		going := true // to the end: what is removed is counted, whether it can be printed or not
		for r := range removeAll(ctx, c, all, f.erase) {
			if sum.add(r); going && (r.Outcome != "unchanged" || r.Versions > 0) {
				going = yield(r, nil)
			}
		}
	})
	c.Done("%s deleted, %s erased, %d kept", console.Plural(sum.deleted, "document"), console.Plural(sum.versions, "version"), sum.kept)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; run it again to go on: %w", ctx.Err())
	case sum.kept > 0:
		return exit.With(exit.Unhealthy, "%s could not be deleted: run it again once what the list says is mended", console.Plural(sum.kept, "document"))
	}
	return nil
}

type removedSum struct{ deleted, versions, kept int }

func (s *removedSum) add(r removedRow) {
	s.versions += r.Versions
	switch r.Outcome {
	case "deleted":
		s.deleted++
	case outcomeKept:
		s.kept++
	}
}

// removeAll deletes documents, a few at a time, and tells of each. It ends early with
// ctx; its reader reads to the end.
func removeAll(ctx context.Context, c *command.Env, all []deletion, erase bool) <-chan removedRow {
	rows := make(chan removedRow)
	go func() {
		defer close(rows)
		p := c.Progress("deleted", "documents")
		defer p.End()
		places := make(chan struct{}, deletedAtOnce)
		var tasks sync.WaitGroup
		for i, d := range all {
			places <- struct{}{}
			if ctx.Err() != nil {
				break
			}
			p.Count(i, len(all))
			tasks.Go(func() {
				defer func() { <-places }()
				rows <- removeOne(ctx, d, erase)
			})
		}
		tasks.Wait()
	}()
	return rows
}

// removeOne deletes one document.
func removeOne(ctx context.Context, d deletion, erase bool) removedRow {
	r := removedRow{Document: d.document.String(), Outcome: "unchanged"}
	// Also where a tombstone is: the deletion may have ended before every node had
	// closed the document.
	result, err := d.node.StoreDelete(ctx, d.node.Node, d.document)
	if err != nil {
		r.Outcome, r.Detail = outcomeKept, exit.Text(err)
		return r
	}
	if r.Outcome = result.Outcome; !erase {
		return r
	}
	erased, err := d.node.StoreErase(ctx, d.node.Node, d.document)
	r.Versions, r.Detail = erased.Versions, erased.Detail
	if err != nil {
		r.Outcome, r.Detail = outcomeKept, "it is deleted, and its versions are not: "+exit.Text(err)
	}
	return r
}
