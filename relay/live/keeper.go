package live

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
)

// Errors of documents that a store keeps.
var (
	// ErrDeleted: the document was deleted. What clients and histories have of it is of
	// a former life.
	ErrDeleted = errors.New("the document was deleted")

	// errOtherLife: and another document has its name by now.
	errOtherLife = fmt.Errorf("%w, and lives anew", ErrDeleted)

	errGivenUp    = errors.New("the document is being given up")
	errNoStore    = errors.New("the document is kept in a store, and this node has none for it")
	errOtherStore = errors.New("the document is kept in another store than this node's")
	errMixed      = errors.New("the document is in this node's store, and not all nodes of the region have that")
	errVanished   = errors.New("the document was in its store, and is not any more")
	errUnnamed    = errors.New("this node has yet to find out which store it has")
)

// storeError is a failure of a store, as opposed to what it says of a document, or to what
// fails besides.
type storeError struct {
	what string // was tried
	err  error
}

func (e *storeError) Error() string { return e.what + ": " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// isStores reports whether it is a store that fails.
func isStores(err error) bool {
	e := (*storeError)(nil)
	return errors.As(err, &e)
}

const (
	defaultInterval   = time.Minute
	defaultFirst      = 5 * time.Second
	defaultStoreBytes = 256 << 20

	// storeTime bounds one request to a store; a large body has a second more for each
	// mebibyte.
	storeTime = 30 * time.Second
	// storeTries bounds how often a save is tried on a version that is another one again.
	storeTries = 5
)

// keeper keeps one document in its store while a room of it is open here: it brings
// what the store holds, and has the store keep what the room does.
//
// What it promises: nothing is stored for a life whose base was not loaded, or found to
// be absent by a definite word; every save expects the version whose body it contains,
// and merges what is there instead; a history is removed only when its content is stored.
type keeper struct {
	ds    *Documents
	doc   docid.Document
	epoch string // in which it was opened
	store storage.Store
	id    string // of the store

	room     *room.Room      // set by opened, under saves.mu
	ctx      context.Context // ends with the keeper
	stop     func()
	reserved func()        // gives back the memory of what was loaded; owned by who opens
	turn     chan struct{} // holds a token while the store is asked for the document, and from the end on
	owes     atomic.Bool   // the life ends with a pin that is owed
	paying   bool          // there are no users, and former lives are not looked for
	alone    bool          // the room opened from its history, without the store; owned by who opens
	listed   []life        // of which there was a history; owned by who opens
	isListed bool          // begun has listed them, and base not asked since; owned by who opens
	early    *early        // what begun has loaded; nil: nothing, or base has been asked since; owned by who opens

	// Guarded by saves.mu.
	ended   bool
	looks   bool          // what is due is a look at the store
	since   time.Time     // of the oldest change that the store does not have; zero: it has all
	last    time.Time     // when it was stored
	took    time.Duration // to store it
	fails   int           // in a row
	looked  repeated      // looks at the store
	asked   repeated      // questions how far another node has stored it
	awaited bool          // clients wait for it to be stored
	until   time.Time     // when the room of another node has had its time to store it; zero: it has not begun
	stored  Kept
}

// Kept is what is known of a document in its store.
type Kept struct {
	Version string    // of the body that was loaded or stored last; empty: none
	At      time.Time // when this node stored it; zero: it has not
	Clean   bool      // the store has everything, as far as this node knows
}

// storeOf is where the documents of a license region are kept; nil: nowhere.
func (ds *Documents) storeOf(license docid.LicenseRegion) (storage.Store, string) {
	if ds.o.Store == nil {
		return nil, ""
	}
	return ds.o.Store(license)
}

// keep returns the keeper of a life, nil for one that ends with its last user.
func (ds *Documents) keep(ctx context.Context, doc docid.Document, epoch string) (*keeper, error) {
	s, id := ds.storeOf(doc.License)
	switch stored := docid.StoredEpoch(epoch); {
	case s == nil && stored:
		return nil, errNoStore
	case s == nil:
		return nil, nil
	case stored && id == "":
		return nil, &storeError{"open", errUnnamed}
	case !stored:
		// It began while nodes of the region had no store, so its content is nowhere but
		// in its history; a document that is in the store must not begin so.
		_, err := s.Stat(ctx, doc)
		switch {
		case errors.Is(err, storage.ErrAbsent):
			return nil, nil
		case err == nil, errors.Is(err, storage.ErrDeleted):
			err = errMixed
		}
		return nil, err
	}
	k := &keeper{ds: ds, doc: doc, epoch: epoch, store: s, id: id, turn: make(chan struct{}, 1)}
	k.ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	return k, nil
}

// kept is the keeper's side of the room that is opened.
func (k *keeper) kept() *room.Kept {
	if k == nil {
		return nil
	}
	if k.paying {
		return &room.Kept{Base: k.base, Changed: func() {}}
	}
	s := &k.ds.saves
	return &room.Kept{
		Begun:   k.begun,
		Base:    k.base,
		Changed: func() { s.changed(k) },
		Awaited: func(waits bool) { s.awaits(k, waits) },
		Marked:  func() { s.marked(k) },
	}
}

// opened takes the room, or none if it did not open.
func (k *keeper) opened(r *room.Room) {
	if k == nil {
		return
	}
	k.giveBack()
	switch {
	case r == nil:
		k.stop()
	case k.paying:
		k.room = r
	default:
		k.ds.saves.opened(k, r)
	}
}

func (k *keeper) giveBack() {
	if k.reserved != nil {
		k.reserved()
		k.reserved = nil
	}
}

// reserve is for storage.Store.Load.
func (k *keeper) reserve(ctx context.Context, bytes int64) (err error) {
	k.reserved, err = k.ds.saves.budget.Take(ctx, bytes)
	return err
}

// base brings what the store holds: room.Kept.Base.
func (k *keeper) base(ctx context.Context, found oplog.Loaded) (room.Brought, error) {
	e, listed := k.early, k.isListed
	k.early, k.isListed = nil, false // for the next time
	if e == nil {
		k.giveBack() // of an earlier try: what follows needs memory of its own
	}
	base, has := found.Base()
	if has && base.Store != k.id {
		return room.Brought{}, fmt.Errorf("%w: %s, expected %s", errOtherStore, base.Store, k.id)
	}
	if has && (found.Whole() || base.Version == "") {
		k.alone = true
		return room.Brought{Base: base}, nil // the history stands alone
	}
	if !has && !k.paying {
		var err error
		if e, err = k.former(ctx, listed, e); err != nil {
			return room.Brought{}, err
		}
	}
	less := has && k.ds.losses.accepts(k.doc)
	if e == nil {
		e = k.load(ctx)
	}
	stored, err := e.stored, e.err
	switch {
	case errors.Is(err, storage.ErrDeleted):
		return room.Brought{}, ErrDeleted
	case errors.Is(err, storage.ErrAbsent) && has && !less:
		return room.Brought{}, fmt.Errorf("%w: version %s", errVanished, base.Version)
	case errors.Is(err, storage.ErrAbsent):
		base = oplog.Base{Store: k.id, Generation: base.Generation, KeepDeleted: base.KeepDeleted || k.ds.keepsDeleted(k.doc)}
		return room.Brought{Base: base, Less: less}, nil
	case err != nil:
		return room.Brought{}, &storeError{"load", err}
	case has && uint64(stored.Generation) != base.Generation:
		return room.Brought{}, errOtherLife // the history is of a former one
	}
	if !has || less {
		kept := base.KeepDeleted
		base = k.baseOf(stored.Info)
		base.KeepDeleted = k.ds.keepsStill(k.doc, kept || base.KeepDeleted)
	}
	base.KeepDeleted = base.KeepDeleted || stored.KeepDeleted // another region may have begun to
	return room.Brought{Base: base, Update: stored.Body, Less: less}, nil
}

func (k *keeper) baseOf(i storage.Info) oplog.Base {
	return oplog.Base{Store: k.id, Generation: uint64(i.Generation), Version: string(i.Version), KeepDeleted: i.KeepDeleted}
}

// takeTurn waits until nobody else asks the store for the document. Once the keeper has ended
// it is errGivenUp: that is nobody's turn any more.
func (k *keeper) takeTurn(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-k.ctx.Done():
		return errGivenUp
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keeper) endTurn() { <-k.turn }

// save has the store keep what the document is now. It does nothing if the store has it.
func (k *keeper) save(ctx context.Context) (err error) {
	if err := k.takeTurn(ctx); err != nil {
		return err
	}
	defer k.endTurn()
	began := time.Now()
	size := int64(k.room.Brief().Store.Bytes)
	release, err := k.ds.saves.budget.Take(ctx, size)
	if err != nil {
		return err
	}
	defer func() { release() }()
	ctx, cancel := context.WithTimeout(ctx, storeTime+time.Duration(size>>20)*time.Second)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	draft, clean, err := k.room.Draft(ctx)
	if err != nil {
		return err
	}
	version := draft.Base.Version
	if !clean {
		if version, draft, err = k.put(ctx, draft, &release); err != nil {
			return err
		}
		if err := k.room.Stored(ctx, draft, version); err != nil {
			return err
		}
	}
	k.ds.saves.saved(k, version, time.Since(began), clean)
	return nil
}

// put writes a draft. What is there instead of what the draft expects is merged.
func (k *keeper) put(ctx context.Context, d room.Draft, release *func()) (version string, _ room.Draft, err error) {
	for range storeTries {
		var got storage.Version
		got, err = k.store.Save(ctx, k.doc, storage.Version(d.Base.Version), k.meta(d), d.Body)
		var conflict *storage.ConflictError
		switch {
		case err == nil:
			d.Free() // a store that has failed, or found a conflict, may still be sending it
			return string(got), d, nil
		case errors.Is(err, storage.ErrDeleted):
			return "", d, ErrDeleted
		case !errors.As(err, &conflict):
			return "", d, &storeError{"save", err}
		}
		now := conflict.Current
		switch {
		case now.Version == storage.Absent:
			return "", d, fmt.Errorf("%w: version %s", errVanished, d.Base.Version)
		case uint64(now.Generation) != d.Base.Generation:
			return "", d, ErrDeleted
		case now.SHA256 == storage.Sum(d.Body):
			return string(now.Version), d, nil // it was ours, whose answer was lost
		}
		d.Body = nil
		(*release)() // or those that have memory could wait for each other
		*release = func() {}
		if d, err = k.merge(ctx, d); err != nil {
			return "", d, err
		}
		k.ds.saves.conflicts.Add(1)
	}
	return "", d, fmt.Errorf("save: others were faster %d times: %w", storeTries, err)
}

// merge takes what the store holds into the room.
func (k *keeper) merge(ctx context.Context, d room.Draft) (room.Draft, error) {
	stored, release, err := k.loadOthers(ctx, d.Base.Version, d.Base.Generation)
	defer release()
	if err != nil {
		return d, err
	}
	base := k.baseOf(stored.Info)
	return k.room.Merge(d, base, stored.Body)
}

// loadOthers loads what others have stored since a version, of the same generation.
// release gives its memory back; it is never nil.
func (k *keeper) loadOthers(ctx context.Context, version string, generation uint64) (_ storage.Stored, release func(), err error) {
	release = func() {}
	stored, err := k.store.Load(ctx, k.doc, func(ctx context.Context, bytes int64) error {
		taken, err := k.ds.saves.budget.Take(ctx, bytes)
		if err == nil {
			release = taken
		}
		return err
	})
	switch {
	case errors.Is(err, storage.ErrDeleted), err == nil && uint64(stored.Generation) != generation:
		err = ErrDeleted
	case errors.Is(err, storage.ErrAbsent):
		err = fmt.Errorf("%w: version %s", errVanished, version)
	case err != nil:
		err = &storeError{"load what others stored", err}
	}
	return stored, release, err
}

func (k *keeper) meta(d room.Draft) storage.Meta {
	return storage.Meta{
		Generation: storage.Generation(d.Base.Generation), Epoch: k.room.Epoch(), Region: k.ds.o.Region,
		KeepDeleted: d.Base.KeepDeleted, Time: time.Now(),
	}
}

// lives reports whether the store still has the document's life that the room is of, and
// not another one since a deletion.
func (k *keeper) lives(ctx context.Context) (bool, error) {
	info, err := k.store.Stat(ctx, k.doc)
	base := k.room.Base()
	switch {
	case errors.Is(err, storage.ErrDeleted):
		return false, nil
	case errors.Is(err, storage.ErrAbsent) && base.Version == "":
		return true, nil
	case err != nil:
		return false, err
	}
	return uint64(info.Generation) == base.Generation, nil
}
