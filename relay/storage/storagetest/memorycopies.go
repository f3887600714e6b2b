package storagetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

var _ storage.Versioned = (*Memory)(nil)

type memoryCopy struct {
	storage.Copy
	stored storage.Stored
}

func (m *Memory) keepLocked(d docid.Document, before storage.Stored) {
	m.copies[d] = append(m.copies[d], memoryCopy{
		storage.Copy{ID: storage.CopyID(before.Info), Time: before.Time, Replaced: time.Now(), Size: before.Size}, before,
	})
}

// Keeps implements storage.Versioned.
func (m *Memory) Keeps() time.Duration { return 24 * time.Hour }

// Copies implements storage.Versioned.
func (m *Memory) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var copies []storage.Copy
	for _, c := range m.copies[d] {
		copies = append(copies, c.Copy)
	}
	storage.SortCopies(copies)
	return copies, ctx.Err()
}

// LoadCopy implements storage.Versioned.
func (m *Memory) LoadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.copies[d], func(c memoryCopy) bool { return c.ID == id })
	if i < 0 {
		return storage.Stored{}, fmt.Errorf("%s, version %s: %w", d, id, storage.ErrAbsent)
	}
	stored := m.copies[d][i].stored
	if err := reserve.Ask(ctx, stored.Size); err != nil {
		return storage.Stored{}, err
	}
	stored.Body = slices.Clone(stored.Body)
	return stored, ctx.Err()
}

// Expire implements storage.Versioned.
func (m *Memory) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (removed int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, copies := range m.copies {
		if d.License != l {
			continue
		}
		kept := slices.DeleteFunc(copies, func(c memoryCopy) bool { return c.Replaced.Before(before) })
		removed += len(copies) - len(kept)
		m.copies[d] = kept
	}
	return removed, ctx.Err()
}

// Erase implements storage.Versioned.
func (m *Memory) Erase(ctx context.Context, d docid.Document) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	removed := len(m.copies[d])
	delete(m.copies, d)
	return removed, ctx.Err()
}
