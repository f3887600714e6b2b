package live

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
)

// A life that has only just begun nearly always opens with what the store holds. So that is
// asked for while the region is asked of which lives of the document it has a history: a user
// waits for the longer of the two. By rule 12 of docs/storage.md what former lives owe is stored first, and so a
// body that was loaded before their histories were read counts only if it is still what the
// last of them knows to be stored.

// early is what a store has answered to a load.
type early struct {
	stored storage.Stored
	err    error
}

func (k *keeper) load(ctx context.Context) *early {
	stored, err := k.store.Load(ctx, k.doc, k.reserve)
	return &early{stored, err}
}

// drop forgets what was loaded, and gives its memory back.
func (k *keeper) drop() {
	k.early = nil
	k.giveBack()
}

// begun is room.Kept.Begun: one question tells of this life and of former ones, which base
// asks for next. Meanwhile the body is loaded; it is not waited for by a life that has a
// history, which may well do without the store.
func (k *keeper) begun(ctx context.Context) (begun bool, err error) {
	loading, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var load sync.WaitGroup
	load.Go(func() { k.early = k.load(loading) })
	k.listed, err = k.ds.lives.of(ctx, k.doc)
	k.isListed = err == nil
	begun = slices.Contains(k.listed, life{k.doc, k.epoch})
	if err != nil || begun {
		giveUp()
		load.Wait()
		k.drop()
		return begun, err
	}
	load.Wait()
	return false, nil
}

// former pays what former lives owe. listed says that begun has just found of which lives
// there is a history, and e is what it has loaded, nil for nothing. It returns that if it is
// still to be believed. Its memory is given back before anything is stored, or those that
// have memory could wait for each other.
func (k *keeper) former(ctx context.Context, listed bool, e *early) (*early, error) {
	if !listed {
		var err error
		if k.listed, err = k.ds.lives.of(ctx, k.doc); err != nil {
			return nil, err
		}
	}
	last, err := k.ds.payments.former(ctx, k.listed, k.epoch, func() {
		e = nil
		k.drop()
	})
	if err != nil {
		return nil, err
	}
	if e != nil && last != nil && !e.isOf(*last) {
		e = nil
		k.drop()
	}
	return e, nil
}

// isOf reports whether a store has answered with what a history that ended knows to be
// stored.
func (e *early) isOf(last oplog.Loaded) bool {
	base, based := last.Base()
	switch {
	case !based:
		return false
	case errors.Is(e.err, storage.ErrAbsent):
		return base.Version == ""
	}
	return e.err == nil && base.Version == string(e.stored.Version)
}
