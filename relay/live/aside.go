package live

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
)

// setAside stores what is left of a history that does not say on what it stands, beside
// the document, and purges it: it is not the whole of it, nor of a known life. No room
// opens it, which would write a base. What cannot be stored stays as it was, so that the
// next attempt finds the same.
func (p *payments) setAside(ctx context.Context, l life) error {
	ds := p.docs
	store, _ := ds.storeOf(l.doc.License)
	if store == nil {
		return errNoStore
	}
	body, found, err := room.Leftovers(ctx, ds.o.History, ds.lives.subject(l), ds.keepsDeleted(l.doc))
	if err != nil {
		return err
	}
	if _, based := found.Base(); based {
		return errAgain // somebody has opened it meanwhile
	}
	release, err := ds.saves.budget.Take(ctx, int64(len(body)))
	if err != nil {
		return err
	}
	defer release()
	beside, err := p.saveBeside(ctx, store, l, body)
	if err != nil {
		return &storeError{"store beside the document", err}
	}
	ds.o.Log.Error("a history says on nothing what it stands: what was left of it is stored beside the document",
		"document", l.doc.String(), "epoch", l.epoch, "stored", beside.String())
	return ds.lives.purge(ctx, l, found.Last)
}

// saveBeside stores a body under a name that says of which life it is. Whatever is there
// stays: an earlier attempt's body is this one, and next to another there is room.
func (p *payments) saveBeside(ctx context.Context, store storage.Store, l life, body []byte) (beside docid.Document, err error) {
	ds := p.docs
	sum := storage.Sum(body)
	meta := storage.Meta{Epoch: l.epoch, Region: ds.o.Region, KeepDeleted: ds.keepsDeleted(l.doc), Time: time.Now()}
	beside = l.doc
	for _, more := range []string{"@orphan-" + l.epoch, "-" + sum.String()[:8]} {
		beside.Name += more
		_, err = store.Save(ctx, beside, storage.Absent, meta, body)
		var conflict *storage.ConflictError
		if !errors.As(err, &conflict) {
			return beside, err
		}
		if conflict.Current.SHA256 == sum {
			return beside, nil
		}
	}
	return beside, err
}
