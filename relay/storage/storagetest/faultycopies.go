package storagetest

import (
	"context"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// A Faulty store keeps versions if the one that it fails for does.
var _ storage.Versioned = (*Faulty)(nil)

// Keeps implements storage.Versioned.
func (f *Faulty) Keeps() time.Duration {
	if v, ok := f.Store.(storage.Versioned); ok {
		return v.Keeps()
	}
	return 0
}

func callCopies[T any](ctx context.Context, f *Faulty, operation string, d docid.Document, read bool, do func(storage.Versioned) (T, error)) (none T, _ error) {
	v, ok := f.Store.(storage.Versioned)
	if !ok {
		return none, storage.ErrNoCopies
	}
	return call(ctx, f, operation, d, read, func() (T, error) { return do(v) })
}

// Copies implements storage.Versioned.
func (f *Faulty) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	return callCopies(ctx, f, "copies", d, true, func(v storage.Versioned) ([]storage.Copy, error) { return v.Copies(ctx, d) })
}

// LoadCopy implements storage.Versioned.
func (f *Faulty) LoadCopy(ctx context.Context, d docid.Document, id string, r storage.Reserve) (storage.Stored, error) {
	return callCopies(ctx, f, "load copy", d, true, func(v storage.Versioned) (storage.Stored, error) { return v.LoadCopy(ctx, d, id, r) })
}

// Expire implements storage.Versioned.
func (f *Faulty) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (int, error) {
	return callCopies(ctx, f, "expire", docid.Document{License: l}, false, func(v storage.Versioned) (int, error) { return v.Expire(ctx, l, before) })
}

// Erase implements storage.Versioned.
func (f *Faulty) Erase(ctx context.Context, d docid.Document) (int, error) {
	return callCopies(ctx, f, "erase", d, false, func(v storage.Versioned) (int, error) { return v.Erase(ctx, d) })
}
