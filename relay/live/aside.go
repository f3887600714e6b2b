package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/ystore"
)

// setAside stores what is left of a history that does not say on what it stands, beside
// the document, and purges it: it is not the whole of it, nor of a known life. No room
// opens it, which would write a base. What cannot be stored stays as it was, so that the
// next attempt finds the same.
func (ds *Documents) setAside(ctx context.Context, o owed) error {
	store, _ := ds.storeOf(o.doc.License)
	if store == nil {
		return errNoStore
	}
	left := ystore.New(ystore.Limits{})
	var malformed error
	refuse := func(err error) { malformed = errors.Join(malformed, err) }
	found, err := oplog.Load(ctx, ds.o.History, ds.subject(o), func(_ oplog.Kind, update []byte) {
		if _, err := left.Apply(update); err != nil {
			refuse(err)
		}
	}, refuse)
	if err != nil || malformed != nil {
		return errors.Join(err, malformed)
	}
	if _, based := found.Base(); based {
		return errAgain // somebody has opened it meanwhile
	}
	body := left.Encode()
	release, err := ds.saves.budget.Take(ctx, int64(len(body)))
	if err != nil {
		return err
	}
	defer release()
	beside := o.doc
	beside.Name += "@orphan-" + o.epoch
	meta := storage.Meta{Epoch: o.epoch, Region: ds.o.Region, Time: time.Now()}
	_, err = store.Save(ctx, beside, storage.Absent, meta, body)
	if conflict := (*storage.ConflictError)(nil); errors.As(err, &conflict) {
		// An earlier attempt did it, or a part: nobody else writes there.
		meta.Generation = conflict.Current.Generation
		_, err = store.Save(ctx, beside, conflict.Current.Version, meta, body)
	}
	if err != nil {
		return fmt.Errorf("store beside the document: %w", err)
	}
	ds.o.Log.Error("a history says on nothing what it stands: what was left of it is stored beside the document",
		"document", o.doc.String(), "epoch", o.epoch, "stored", beside.String())
	return ds.o.History.PurgeBelow(ctx, ds.subject(o), found.Last+1)
}
