package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Kept returns what is known of an open document in its store; ok is false if it has
// none.
func (ds *Documents) Kept(d *Document) (kept Kept, ok bool) {
	if d.keeper == nil {
		return Kept{}, false
	}
	return ds.saves.kept(d.keeper), true
}

// Save has the store keep an open document now, whatever the interval. Without a store
// it is errors.ErrUnsupported.
func (ds *Documents) Save(ctx context.Context, d *Document) error {
	if d.keeper == nil {
		return fmt.Errorf("%s: no store keeps it: %w", d.doc, errors.ErrUnsupported)
	}
	ds.saves.unplan(d.keeper) // this is it; what fails is planned again
	err := d.keeper.save(ctx)
	if err != nil && !errors.Is(err, ErrDeleted) && errors.Is(ctx.Err(), context.Canceled) {
		ds.saves.replan(d.keeper) // who asked has gone: that says nothing of the store
		return err
	}
	ds.saves.came(d.keeper, err)
	return err
}

// keepsDeleted reports whether the content of what is deleted is kept by the app's setting.
func (ds *Documents) keepsDeleted(doc docid.Document) bool {
	return ds.o.KeepsDeleted != nil && ds.o.KeepsDeleted(doc)
}

// keepsStill reports whether the content of what is deleted is kept in a life that
// begins: if the app's setting says so, or if it was kept before. A setting that is gone,
// perhaps by mistake, loses nothing: that takes an operator's command.
func (ds *Documents) keepsStill(doc docid.Document, kept bool) bool {
	wanted := ds.keepsDeleted(doc)
	if kept && !wanted {
		if _, told := ds.keptOn.LoadOrStore(doc.AppID(), true); !told {
			ds.o.Log.Warn("documents of the app keep deleted content, although its settings do not say keep-deleted: they go on doing so until wsctl store drop-deleted",
				"app", string(doc.Tenant)+"/"+string(doc.App), "document", doc.String())
		}
	}
	return kept || wanted
}

// Storing is what a node has to do with stores.
type Storing struct {
	Dirty  int           // documents with edits that the store does not have
	Oldest time.Duration // the age of the oldest of these edits, or of the oldest owed life
	Owed   int           // lives that ended before they were stored, and that this node stores
	// Waiting are loads and saves that wait for memory: Options.StoreBytes.
	Waiting int
}

// Storing says what is yet to be stored.
func (ds *Documents) Storing() (found Storing) {
	oldest := ds.payments.owing(&found)
	if edited := ds.saves.dirty(&found); oldest.IsZero() || !edited.IsZero() && edited.Before(oldest) {
		oldest = edited
	}
	if !oldest.IsZero() {
		found.Oldest = time.Since(oldest)
	}
	return found
}

// dirty counts the open documents whose stores lack something, and returns since when the
// oldest does: those that are being stored at the moment, in vain perhaps, are among them.
func (s *saves) dirty(found *Storing) (oldest time.Time) {
	found.Waiting = s.budget.Waiting()
	s.mu.Lock()
	defer s.mu.Unlock()
	found.Dirty = len(s.unstored)
	for k := range s.unstored {
		if oldest.IsZero() || k.since.Before(oldest) {
			oldest = k.since
		}
	}
	return oldest
}

// kept is what is known of a document.
func (s *saves) kept(k *keeper) Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.stored
}
