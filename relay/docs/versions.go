package docs

import (
	"context"
	"errors"
	"fmt"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// ErrNotDeleted: versions are erased of what is deleted only.
var ErrNotDeleted = errors.New("document is not deleted")

// versioned returns the store of a document, if it keeps former bodies.
func (d *Docs) versioned(doc docid.Document) (storage.Versioned, error) {
	s, err := d.store(doc)
	if err != nil {
		return nil, err
	}
	v, ok := s.(storage.Versioned)
	if !ok {
		return nil, storage.ErrNoCopies
	}
	return v, nil
}

// Versions lists the former bodies of a document, the newest first.
func (d *Docs) Versions(ctx context.Context, doc docid.Document) ([]storage.Copy, error) {
	s, err := d.versioned(doc)
	if err != nil {
		return nil, err
	}
	return s.Copies(ctx, doc)
}

// GetVersion is Get for a former body.
func (d *Docs) GetVersion(ctx context.Context, doc docid.Document, version string) (storage.Stored, func(), error) {
	s, err := d.versioned(doc)
	if err != nil {
		return storage.Stored{}, nil, err
	}
	return d.within(func(reserve storage.Reserve) (storage.Stored, error) { return s.LoadCopy(ctx, doc, version, reserve) })
}

// Erase removes the former bodies of a document that is deleted, and says how many. It
// can be repeated: with an error some may be left.
func (d *Docs) Erase(ctx context.Context, doc docid.Document) (int, error) {
	s, err := d.versioned(doc)
	if err != nil {
		return 0, err
	}
	if _, err := s.Stat(ctx, doc); !errors.Is(err, storage.ErrDeleted) {
		if err == nil {
			err = ErrNotDeleted
		}
		return 0, fmt.Errorf("%s: erase its versions: %w", doc, err)
	}
	return s.Erase(ctx, doc)
}
