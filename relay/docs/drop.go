package docs

import (
	"context"
	"errors"
	"fmt"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Dropped is the outcome of Drop.
const Dropped Outcome = "dropped"

// Drop takes the content of what is deleted out of a stored document that keeps it.
// Whether it keeps what is deleted from then on, its app's setting says. A document that is
// live is a *LiveError: those who have it open would bring the content back. There is no
// other way to stop keeping it.
func (d *Docs) Drop(ctx context.Context, doc docid.Document) (PutResult, error) {
	s, err := d.store(doc)
	if err != nil {
		return PutResult{}, err
	}
	if err := d.notLive(ctx, doc); err != nil {
		return PutResult{}, err
	}
	for attempt := 1; ; attempt++ {
		result, err := d.drop(ctx, s, doc)
		if err == nil && result.Outcome == Dropped {
			err = d.notLive(ctx, doc) // who has opened it meanwhile has the content
		}
		if attempt == putAttempts || !errors.Is(err, storage.ErrConflict) {
			return result, err
		}
	}
}

func (d *Docs) drop(ctx context.Context, s storage.Store, doc docid.Document) (PutResult, error) {
	stored, done, err := d.load(ctx, s, doc)
	if err != nil {
		return PutResult{}, err
	}
	defer done()
	if !stored.KeepDeleted {
		return PutResult{Unchanged, stored.Version, stored.Size}, nil
	}
	y := ystore.New(ystore.Limits{})
	if err := applyTo(y, stored.Body); err != nil {
		return PutResult{}, fmt.Errorf("%s: %w: %w", doc, storage.ErrCorrupt, err)
	}
	meta := storage.Meta{Generation: stored.Generation, Epoch: stored.Epoch, KeepDeleted: d.keeps(doc)}
	return d.save(ctx, s, doc, stored.Version, meta, y.Encode(), PutOptions{}, Dropped)
}
