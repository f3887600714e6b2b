package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

// adoptFlags say what takes the place of a store, and what it is compared with.
type adoptFlags struct {
	compare string
	dryRun  bool
	sure    console.ConfirmFlag
}

func adoptStoreCommand(c *command.Env) *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt DBCODE URL",
		Short: "Put a copy in the place of a store that is lost",
		Long: `Give a copy of a store, which a replication or an import made, the id of the store
that the registry names, so that nodes that are started with its URL go on with it,
and with what their histories hold. The URL is one of --store; it is opened from here,
with the credentials that are found here.

What the copy lacks is listed: it is compared by names and hashes with --compare, the
URL of the lost store, if that still answers, or what wsctl store export wrote; and
with the documents that are live. --dry-run only compares.

The lost store keeps its id. Take its marker away, or its rights, before it can come
back: nodes that are started with its URL would believe it.`,
		Args: command.Exactly("DBCODE", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return adopt(cmd.Context(), c, docid.LicenseRegion(args[0]), args[1], &f)
		},
	}
	cmd.Flags().StringVar(&f.compare, "compare", "", "what was there: the URL of the lost store, a folder or FILE.tar of an export")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "compare, and change nothing")
	f.sure.Register(cmd)
	return cmd
}

func adopt(ctx context.Context, c *command.Env, license docid.LicenseRegion, address string, f *adoptFlags) error {
	if !f.dryRun {
		if err := refuseWorking(ctx, c, license); err != nil {
			return err
		}
	}
	copied, err := open.Open(ctx, address, license)
	if err != nil {
		return err
	}
	defer copied.Close()
	id, err := storage.Identify(ctx, copied)
	if errors.Is(err, storage.ErrAbsent) {
		id, err = storage.Identity{License: license}, nil
	}
	if err != nil {
		return err
	}
	if !id.Keeps(license) {
		return exit.With(exit.Declined, "%s keeps the documents of %s, not of %s", storage.Redact(address), id.License, license)
	}
	return c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		i, err := r.Inspector(license)
		if err != nil {
			return err
		}
		named, err := i.StoreID(ctx, license)
		if err != nil {
			return err
		}
		if named == "" {
			return exit.With(exit.NotFound, "the registry of %s names no store: wsctl store init names the one that nodes have", license)
		}
		sum, err := compareCopy(ctx, c, license, copied, f.compare, i)
		if err != nil || f.dryRun {
			return err
		}
		if err := c.Confirm(&f.sure, "Make %s store %s of %s (%s)?", storage.Redact(address), named, license, sum); err != nil {
			return err
		}
		next := storage.Identity{ID: named, License: id.License, KeyFormat: storage.KeyFormat}
		if err := storage.Adopt(ctx, copied, id.ID, next); err != nil {
			return err
		}
		if err := storage.Check(ctx, copied); err != nil {
			return exit.With(exit.Unhealthy, "it is store %s now, but nodes will not use it: %w", named, err)
		}
		c.Done("it is store %s of %s: start the nodes with --store %s, and let the lost one not come back", named, license, storage.Redact(address))
		return nil
	})
}

// refuseWorking returns an error if a node has a store that works: two stores of one id
// would take documents from each other.
func refuseWorking(ctx context.Context, c *command.Env, license docid.LicenseRegion) error {
	err := c.Clusters.WithFleet(func(fl *reach.Fleet) error {
		nodes, err := fl.Some(ctx, nil)
		for _, n := range nodes {
			states, err := n.Stores(ctx, n.Node, false)
			if err != nil {
				return err
			}
			for _, s := range states {
				if s.License == license && s.State == control.StoreOK {
					return exit.With(exit.Declined, "nothing was changed: node %s has store %s of %s, and it works", n.Node, s.ID, license)
				}
			}
		}
		return err
	})
	if exit.IsUnavailable(err) { // with the region, its nodes are lost
		c.Done("wsctl: it is not known whether nodes still have the store: %s", exit.Text(err))
		return nil
	}
	return err
}

// comparedRow is a document in which a copy differs.
type comparedRow struct {
	Document string    `json:"document"`
	State    string    `json:"state"` // missing, differs, deleted, not deleted, live only
	Was      time.Time `json:"was,omitzero"`
	Is       time.Time `json:"is,omitzero"`
}

var comparedColumns = []console.Column[comparedRow]{
	console.Shown("DOCUMENT", func(r comparedRow) string { return r.Document }),
	console.Shown("STATE", func(r comparedRow) string { return r.State }),
	console.Shown("WAS WRITTEN", func(r comparedRow) string { return console.Stamp(r.Was) }),
	console.Shown("COPY WRITTEN", func(r comparedRow) string { return console.Stamp(r.Is) }),
}

// original is a document as it was in the lost store.
type original struct {
	document docid.Document
	info     storage.Info // its hash, and the time if it is known
	live     bool         // it is known only as a document that is live
}

// comparedSum counts what a comparison found.
type comparedSum struct{ same, differ int }

func (s comparedSum) String() string {
	return fmt.Sprintf("%s the same, %d missing or different", console.Plural(s.same, "document"), s.differ)
}

// comparedAtOnce is how many documents are looked up at the same time.
const comparedAtOnce = 16

// compareCopy prints in which documents a copy differs from what is known of the lost
// store.
func compareCopy(ctx context.Context, c *command.Env, license docid.LicenseRegion, copied storage.Store, with string, i *kvpin.Inspector) (sum comparedSum, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows := make(chan comparedRow)
	go func() {
		defer close(rows)
		p := c.Progress("compared", "documents")
		defer p.End()
		places := make(chan struct{}, comparedAtOnce)
		var tasks sync.WaitGroup
		defer tasks.Wait()
		n := 0
		err := originals(ctx, c, license, with, i, func(o original) error {
			n++
			p.Count(n, 0)
			places <- struct{}{}
			tasks.Go(func() {
				defer func() { <-places }()
				row, err := compareOne(ctx, copied, o)
				if err != nil {
					cancel(err)
					return
				}
				rows <- row
			})
			return ctx.Err()
		})
		if err != nil {
			cancel(err)
		}
	}()
	err = console.PrintRows(c.Console, comparedColumns, func(yield func(comparedRow, error) bool) {
		going := true
		for r := range rows {
			if r.State == "" {
				sum.same++
				continue
			}
			sum.differ++
			going = going && yield(r, nil)
		}
		if why := context.Cause(ctx); why != nil && going {
			yield(comparedRow{}, why)
		}
	})
	if err == nil {
		c.Done("%s", sum)
	}
	return sum, err
}

// compareOne looks one document up in the copy. The row of one that is the same has no
// state.
func compareOne(ctx context.Context, copied storage.Store, o original) (r comparedRow, err error) {
	r = comparedRow{Document: o.document.String(), Was: o.info.Time}
	is, err := copied.Stat(ctx, o.document)
	var tombstone *storage.DeletedError
	switch {
	case errors.As(err, &tombstone):
		if r.Is = tombstone.Tombstone.Time; !o.info.Deleted {
			r.State = "deleted"
		}
	case errors.Is(err, storage.ErrAbsent):
		if r.State = "missing"; o.live {
			r.State = "live only"
		}
	case errors.Is(err, storage.ErrCorrupt):
		r.State = control.StoredCorrupt
	case err != nil:
		return r, err
	default:
		switch r.Is = is.Time; {
		case o.live:
		case o.info.Deleted:
			r.State = "not deleted"
		case o.info.SHA256 != is.SHA256:
			r.State = "differs"
		}
	}
	return r, nil
}

// originals goes through what is known of the lost store: what there is to compare with,
// and the documents that are live.
func originals(ctx context.Context, c *command.Env, license docid.LicenseRegion, with string, i *kvpin.Inspector, each func(original) error) error {
	seen := map[docid.Document]bool{}
	once := func(o original) error {
		if o.document.License != license || seen[o.document] {
			return nil
		}
		seen[o.document] = true
		return each(o)
	}
	var err error
	switch {
	case with == "":
	case strings.Contains(with, "://"):
		err = originalsIn(ctx, license, with, once)
	default:
		err = originalsOf(ctx, c, with, once)
	}
	if err != nil {
		return fmt.Errorf("what it is compared with: %w", err)
	}
	for pin, err := range i.Pins(ctx, license, kvpin.PinFilter{}) {
		if err != nil {
			return err
		}
		if err := once(original{document: pin.Document, live: true}); err != nil {
			return err
		}
	}
	return nil
}

// originalsIn goes through a store.
func originalsIn(ctx context.Context, license docid.LicenseRegion, address string, each func(original) error) error {
	lost, err := open.Open(ctx, address, license)
	if err != nil {
		return err
	}
	defer lost.Close()
	for q := (storage.Query{License: license}); ; {
		page, err := lost.List(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			o := original{document: e.Document}
			if o.info, err = lost.Stat(ctx, e.Document); errors.Is(err, storage.ErrDeleted) {
				o.info, err = storage.Info{Deleted: true, Meta: storage.Meta{Time: e.Time}}, nil
			}
			if err != nil && !errors.Is(err, storage.ErrCorrupt) {
				return err
			}
			if err := each(o); err != nil {
				return err
			}
		}
		if q.After = page.Next; page.Next == "" {
			return nil
		}
	}
}

// originalsOf goes through an export.
func originalsOf(ctx context.Context, c *command.Env, path string, each func(original) error) error {
	kind := "dir"
	if strings.HasSuffix(path, ".tar") {
		kind = "tar"
	}
	for s, err := range foreign.Readers[kind](ctx, foreign.Place{Path: path, In: c.In}) {
		if err != nil {
			return err
		}
		if s.Entry == nil {
			return fmt.Errorf("%s is not of an export: expected what wsctl store export wrote", s.File)
		}
		o := original{document: s.Entry.Document.Docname(), info: storage.Info{Deleted: s.Entry.Deleted}}
		if !s.Entry.Deleted {
			content, err := s.Content()
			if err != nil {
				return err
			}
			o.info.SHA256 = storage.Sum(content)
		}
		if err := each(o); err != nil {
			return err
		}
	}
	return nil
}
