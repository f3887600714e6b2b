package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/storage"
)

// What others do to a document in its store, open ones are told of: that it was deleted,
// and that a life was stored beside the pinned one.

// Told implements kvpin.Rooms. When it returns nil, this node shows what the store
// holds, or, of a deleted document, nothing: its sessions have ended, it is closed, and
// its history is purged.
func (f *follower) Told(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) error {
	ds := f.docs
	for {
		d, gone := ds.table.entry(doc)
		if d == nil {
			return f.purgeDeleted(ctx, life{doc, string(epoch)})
		}
		var wait <-chan struct{} = d.opened // one that is being opened may have read what it opens with before
		if d.IsOpen() {
			err := f.look(ctx, d)
			if !errors.Is(err, ErrDeleted) && !errors.Is(err, errGivenUp) {
				return err
			}
			wait = gone
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("%s is not given up yet: %w", doc, ctx.Err())
		}
		if !d.IsOpen() { // it did not open, and is about to leave the map
			select {
			case <-gone:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// look has an open document follow its store now. ErrDeleted says that it is being given
// up.
func (f *follower) look(ctx context.Context, d *Document) error {
	ds := f.docs
	if d.keeper != nil {
		return ds.follow(d, d.keeper.look(ctx))
	}
	// It began while nodes of the region had no store, which may have its deletion.
	deleted, err := f.deletedInStore(ctx, d.doc)
	if deleted {
		err = ErrDeleted
	}
	return ds.follow(d, err)
}

func (f *follower) deletedInStore(ctx context.Context, doc docid.Document) (bool, error) {
	s, _ := f.docs.storeOf(doc.License)
	if s == nil {
		return false, nil
	}
	_, err := s.Stat(ctx, doc)
	switch {
	case errors.Is(err, storage.ErrDeleted):
		return true, nil
	case errors.Is(err, storage.ErrAbsent):
		return false, nil
	}
	return false, err
}

// purgeDeleted removes the history of a life that nobody has open here, if its document
// was deleted. Others are not asked whether they have it open: they are told as well, and
// one that is frozen must not keep what was deleted.
func (f *follower) purgeDeleted(ctx context.Context, l life) error {
	ds := f.docs
	if l.epoch == "" {
		return nil // of a pin that could not be read
	}
	deleted, err := f.deletedInStore(ctx, l.doc)
	if err != nil || !deleted {
		return err
	}
	if !docid.StoredEpoch(l.epoch) {
		last, err := ds.lives.last(ctx, l)
		if err != nil || last == 0 {
			return err
		}
		return ds.lives.purge(ctx, l, last)
	}
	found, err := ds.lives.found(ctx, l)
	if errors.Is(err, history.ErrStreamMissing) {
		return nil
	}
	if err != nil || found.Last == 0 || found.OnlyMarker() {
		return err
	}
	return ds.lives.leaveMarker(ctx, l, found)
}

// Renewed implements kvpin.Rooms.
func (f *follower) Renewed(doc docid.Document) {
	ds := f.docs
	if d := ds.Get(doc); d != nil && d.keeper != nil {
		ds.saves.look(d.keeper)
	}
}
