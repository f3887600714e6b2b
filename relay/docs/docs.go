// Package docs is what can be done with a document from outside, whether it is live or
// not: look at what its store has, take it out, put something in, delete it.
// Operators reach it over relay/control.
package docs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Pins says where documents are live; *kvpin.Registry does.
type Pins interface {
	Lookup(context.Context, docid.Document) (kvpin.Pin, kvpin.State, error)
	Evict(context.Context, docid.Document) ([]kvpin.Pin, error)
	Unanswered(context.Context, docid.Document) ([]kvpin.Pin, error)
	StoreChanged(ctx context.Context, doc docid.Document, p kvpin.Pin, anybody bool) (silent []docid.NodeID, err error)
}

// Config says on which documents Docs works.
type Config struct {
	Region docid.Region
	// Store returns the store of a license region; nil: it has none.
	Store func(docid.LicenseRegion) (storage.Store, string)
	Pins  Pins
	// KeepsDeleted says of which documents the content of what is deleted is kept, if it
	// is not already. Nil: of none.
	KeepsDeleted func(docid.Document) bool
	// Budget bounds the memory of the bodies that are worked on at the same time.
	Budget *storage.Budget
}

// Docs works on stored documents. Its methods may be called concurrently.
type Docs struct{ cfg Config }

// New returns Docs.
func New(c Config) *Docs { return &Docs{c} }

var (
	// ErrNoStore: the document's license region has no store.
	ErrNoStore = errors.New("no store keeps the documents of this license region")
	// ErrExists: a document that was to be created is there.
	ErrExists = errors.New("document is in the store already")
	// ErrNotUpdate: what was to be stored is no Yjs update.
	ErrNotUpdate = errors.New("not a Yjs V1 update")
)

// LiveError says that a document is live, so that its store is not the place to change
// it.
type LiveError struct {
	Document docid.Document
	Region   docid.Region
	State    kvpin.State
}

func (e *LiveError) Error() string {
	return fmt.Sprintf("%s is %s in %s: what is put into its store now would be seen only in its next life", e.Document, e.State, e.Region)
}

func (d *Docs) store(doc docid.Document) (storage.Store, error) {
	s, _ := d.cfg.Store(doc.License)
	if s == nil {
		return nil, fmt.Errorf("%s: %w", doc, ErrNoStore)
	}
	return s, nil
}

// Stat says what the store has of a document, with the errors of storage.Store.
func (d *Docs) Stat(ctx context.Context, doc docid.Document) (storage.Info, error) {
	s, err := d.store(doc)
	if err != nil {
		return storage.Info{}, err
	}
	return s.Stat(ctx, doc)
}

// Get returns what the store has of a document, with the errors of storage.Store, and
// a function that gives its memory back, which must be called once the body is used.
func (d *Docs) Get(ctx context.Context, doc docid.Document) (_ storage.Stored, done func(), err error) {
	s, err := d.store(doc)
	if err != nil {
		return storage.Stored{}, nil, err
	}
	return d.load(ctx, s, doc)
}

// load loads a document within the budget.
func (d *Docs) load(ctx context.Context, s storage.Store, doc docid.Document) (storage.Stored, func(), error) {
	return d.within(func(reserve storage.Reserve) (storage.Stored, error) { return s.Load(ctx, doc, reserve) })
}

// within has the budget bound the memory of what load loads.
func (d *Docs) within(load func(storage.Reserve) (storage.Stored, error)) (storage.Stored, func(), error) {
	release := func() {}
	stored, err := load(func(ctx context.Context, bytes int64) error {
		taken, err := d.cfg.Budget.Take(ctx, bytes)
		if err == nil {
			release = taken
		}
		return err
	})
	if err != nil {
		release()
		return storage.Stored{}, nil, err
	}
	return stored, release, nil
}

// List returns a page of what a store has.
func (d *Docs) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	s, _ := d.cfg.Store(q.License)
	if s == nil {
		return storage.Page{}, fmt.Errorf("%s: %w", q.License, ErrNoStore)
	}
	return s.List(ctx, q)
}

// PutOptions say how something is put into a store.
type PutOptions struct {
	Create   bool // only where nothing is, else ErrExists
	Undelete bool // also where a tombstone is
	DryRun   bool // change nothing

	// KeepDeleted keeps the content of what is deleted from now on: the document was one
	// that does so where the update comes from.
	KeepDeleted bool
}

// Outcome says what a change came to.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "created"
	Merged    Outcome = "merged"
	Unchanged Outcome = "unchanged"
	Deleted   Outcome = "deleted"
)

// PutResult is what Put did, or would do.
type PutResult struct {
	Outcome Outcome
	Version storage.Version // afterwards
	Size    int64
}

const putAttempts = 5

// Put merges a Yjs update into what the store has of a document. A live document is a
// *LiveError. Who opens it meanwhile loses nothing: either finds the other's version in
// the store, and merges.
func (d *Docs) Put(ctx context.Context, doc docid.Document, update []byte, o PutOptions) (PutResult, error) {
	s, err := d.store(doc)
	if err != nil {
		return PutResult{}, err
	}
	if err := storable(update); err != nil {
		return PutResult{}, fmt.Errorf("%s: %w", doc, err)
	}
	if err := d.notLive(ctx, doc); err != nil {
		return PutResult{}, err
	}
	for attempt := 1; ; attempt++ {
		result, err := d.put(ctx, s, doc, update, o)
		if err == nil && !o.DryRun && result.Outcome != Unchanged {
			err = d.notifyOpened(ctx, doc)
		}
		if attempt == putAttempts || !errors.Is(err, storage.ErrConflict) {
			return result, err
		}
	}
}

// notifyOpened tells those of what was put into the store who have opened the document
// meanwhile.
func (d *Docs) notifyOpened(ctx context.Context, doc docid.Document) error {
	pin, state, err := d.cfg.Pins.Lookup(ctx, doc)
	if err == nil && state == kvpin.Live {
		_, err = d.cfg.Pins.StoreChanged(ctx, doc, pin, false)
	}
	if err != nil {
		return fmt.Errorf("it is stored; whether those who have just opened it see it is not known: %w", err)
	}
	return nil
}

// storable refuses what no client could read, and what holds nothing.
func storable(update []byte) error {
	if err := applyTo(ystore.New(ystore.Limits{}), update); err != nil {
		return fmt.Errorf("%w: %w", ErrNotUpdate, err)
	}
	return nil
}

func applyTo(y *ystore.Store, update []byte) error {
	_, err := y.Apply(update)
	return err
}

func (d *Docs) notLive(ctx context.Context, doc docid.Document) error {
	pin, state, err := d.cfg.Pins.Lookup(ctx, doc)
	if err != nil {
		return err
	}
	if state != kvpin.Free {
		return &LiveError{doc, pin.Region, state}
	}
	return nil
}

// put is one attempt of Put. ErrConflict says that somebody else wrote meanwhile.
func (d *Docs) put(ctx context.Context, s storage.Store, doc docid.Document, update []byte, o PutOptions) (PutResult, error) {
	stored, done, err := d.load(ctx, s, doc)
	var tombstone *storage.DeletedError
	switch {
	case errors.Is(err, storage.ErrAbsent):
		return d.save(ctx, s, doc, storage.Absent, storage.Meta{KeepDeleted: o.KeepDeleted || d.keeps(doc)}, update, o, Created)
	case errors.As(err, &tombstone) && o.Undelete:
		meta := storage.Meta{Generation: tombstone.Tombstone.Generation, KeepDeleted: o.KeepDeleted || d.keeps(doc)}
		return d.save(ctx, s, doc, tombstone.Tombstone.Version, meta, update, o, Created)
	case err != nil:
		return PutResult{}, err
	}
	defer done()
	if o.Create {
		return PutResult{}, fmt.Errorf("%s: %w", doc, ErrExists)
	}
	keep := stored.KeepDeleted || o.KeepDeleted || d.keeps(doc)
	merged, brings, err := merge(stored, update, keep)
	if err != nil {
		return PutResult{}, fmt.Errorf("%s: %w", doc, err)
	}
	switch {
	case brings:
	case o.KeepDeleted && !stored.KeepDeleted: // or the next who stores it would drop what came
		merged = stored.Body
	default:
		return PutResult{Unchanged, stored.Version, stored.Size}, nil
	}
	return d.save(ctx, s, doc, stored.Version, storage.Meta{Generation: stored.Generation, Epoch: stored.Epoch, KeepDeleted: keep}, merged, o, Merged)
}

// keeps reports whether the app's setting has the content of what is deleted kept.
func (d *Docs) keeps(doc docid.Document) bool {
	return d.cfg.KeepsDeleted != nil && d.cfg.KeepsDeleted(doc)
}

// merge applies an update to what is stored, with the content of what is deleted if that
// is kept. brings is false if all of it is there.
func merge(stored storage.Stored, update []byte, keep bool) (merged []byte, brings bool, err error) {
	y := ystore.New(ystore.Limits{})
	if keep {
		y.Keep()
	}
	if err := applyTo(y, stored.Body); err != nil {
		return nil, false, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	if brings, err = y.Brings(update); err != nil || !brings {
		return nil, false, err
	}
	if err := applyTo(y, update); err != nil {
		return nil, false, err
	}
	return y.Encode(), true, nil
}

func (d *Docs) save(ctx context.Context, s storage.Store, doc docid.Document, expect storage.Version, m storage.Meta, body []byte, o PutOptions, outcome Outcome) (PutResult, error) {
	result := PutResult{outcome, expect, int64(len(body))}
	if o.DryRun {
		return result, nil
	}
	m.Region, m.Time = d.cfg.Region, time.Now()
	version, err := s.Save(ctx, doc, expect, m, body)
	result.Version = version
	return result, err
}
