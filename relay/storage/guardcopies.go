package storage

import (
	"context"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// The guard of a store that keeps no copies answers with ErrNoCopies.
var _ Versioned = (*Guard)(nil)

// Keeps implements Versioned.
func (g *Guard) Keeps() time.Duration {
	if v, ok := g.cfg.Store.(Versioned); ok {
		return v.Keeps()
	}
	return 0
}

// versioned returns the store if it keeps copies, and is the right one.
func (g *Guard) versioned(ctx context.Context) (Versioned, error) {
	v, ok := g.cfg.Store.(Versioned)
	if !ok {
		return nil, ErrNoCopies
	}
	return v, g.sure(ctx, lookAgain)
}

// ofCopies makes one call about copies.
func ofCopies[T any](ctx context.Context, g *Guard, bytes int64, do func(context.Context, Versioned) (T, error)) (none T, _ error) {
	v, err := g.versioned(ctx)
	if err != nil {
		return none, err
	}
	return call(ctx, g, bytes, func(ctx context.Context) (T, error) { return do(ctx, v) })
}

// Copies implements Versioned.
func (g *Guard) Copies(ctx context.Context, d docid.Document) ([]Copy, error) {
	return ofCopies(ctx, g, 0, func(ctx context.Context, v Versioned) ([]Copy, error) { return v.Copies(ctx, d) })
}

// LoadCopy implements Versioned. Waiting for memory counts: nobody but an operator asks.
func (g *Guard) LoadCopy(ctx context.Context, d docid.Document, id string, reserve Reserve) (Stored, error) {
	return ofCopies(ctx, g, 0, func(ctx context.Context, v Versioned) (Stored, error) { return v.LoadCopy(ctx, d, id, reserve) })
}

// Expire implements Versioned. It is not bounded by the time of one call.
func (g *Guard) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (int, error) {
	v, err := g.versioned(ctx)
	if err != nil {
		return 0, err
	}
	return v.Expire(ctx, l, before)
}

// Erase implements Versioned. It is not bounded by the time of one call.
func (g *Guard) Erase(ctx context.Context, d docid.Document) (int, error) {
	v, err := g.versioned(ctx)
	if err != nil {
		return 0, err
	}
	return v.Erase(ctx, d)
}
