package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/relay/storage"
)

// A room finds out what others have stored when it stores itself. One that nobody edits
// looks: when it was opened from its history alone, when it is told to, and when its
// pin is renewed, every few hours.

// look has a document compared with its store soon.
func (s *saves) look(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookLocked(k, time.Now())
}

func (s *saves) lookLocked(k *keeper, at time.Time) {
	if k.ended || k.paying || k.room == nil {
		return
	}
	k.looks = true
	s.at(k, at)
}

// repeated counts what fails of one document. An operator is told of the second failure in a row,
// since one passes.
type repeated int

// failsAgain takes what came of an attempt, and reports whether that is to be told.
func (r *repeated) failsAgain(err error) bool {
	if err == nil {
		*r = 0
		return false
	}
	*r++
	return *r == 2
}

// takeLook reports whether what is due is a look.
func (s *saves) takeLook(k *keeper) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	looks := k.looks
	k.looks = false
	return looks
}

// workLook looks, again and again if it must, and plans the store that gave way to it.
func (s *saves) workLook(ctx context.Context, k *keeper) {
	err := k.look(ctx)
	if errors.Is(err, ErrDeleted) {
		s.deleted(k)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isStores(err) && !k.ended && ctx.Err() == nil && k.looked.failsAgain(err) {
		s.docs.o.Log.Warn("a document cannot be compared with its store; this is tried again", "document", k.doc.String(), "err", err)
	}
	switch {
	case !k.since.IsZero():
		s.plan(k) // the store finds out the same
	case k.awaited && !k.ended:
		k.looks = err != nil
		s.at(k, time.Now().Add(s.docs.o.StoreInterval/awaitedShare))
	case err != nil && ctx.Err() == nil:
		s.lookLocked(k, time.Now().Add(retryMost/2+rand.N(retryMost/2)))
	}
}

// look compares what the room stands on with what the store holds, and merges what
// others have stored. ErrDeleted says that the document has another life there, or none.
func (k *keeper) look(ctx context.Context) error {
	if err := k.takeTurn(ctx); err != nil {
		return err
	}
	defer k.endTurn()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	base := k.room.Base()
	info, err := k.store.Stat(ctx, k.doc)
	switch {
	case errors.Is(err, storage.ErrDeleted):
		return ErrDeleted
	case errors.Is(err, storage.ErrAbsent) && base.Version == "":
		return nil
	case errors.Is(err, storage.ErrAbsent):
		return fmt.Errorf("%w: version %s", errVanished, base.Version)
	case err != nil:
		return &storeError{"look at what is stored", err}
	case uint64(info.Generation) != base.Generation:
		return ErrDeleted
	case string(info.Version) == base.Version:
		return nil
	}
	stored, release, err := k.loadOthers(ctx, base.Version, base.Generation)
	defer release()
	if err != nil {
		return err
	}
	return k.room.Take(k.baseOf(stored.Info), stored.Body)
}
