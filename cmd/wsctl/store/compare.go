package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

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
