package live

import (
	"context"
	"errors"
	"fmt"

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
