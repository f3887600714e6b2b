package storagetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Memory is a store in memory, for tests of what uses a store. It keeps copies of former
// bodies.
type Memory struct {
	mu      sync.Mutex // guards all below
	bodies  map[docid.Document]storage.Stored
	copies  map[docid.Document][]memoryCopy
	version int
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{bodies: map[docid.Document]storage.Stored{}, copies: map[docid.Document][]memoryCopy{}}
}

// SetBack has the store hold another body of a document, as a backup that is restored
// does, with what is said of the present one; nil: nothing, as if it never had been there.
func (m *Memory) SetBack(d docid.Document, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if body == nil {
		delete(m.bodies, d)
		return
	}
	m.version++
	info := storage.Described(m.bodies[d].Meta, body)
	info.Version = storage.Version(fmt.Sprint(m.version))
	m.bodies[d] = storage.Stored{Info: info, Body: slices.Clone(body)}
}

// Load implements storage.Store.
func (m *Memory) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	info, err := m.Stat(ctx, d)
	if err != nil {
		return storage.Stored{}, err
	}
	if err := reserve.Ask(ctx, info.Size); err != nil {
		return storage.Stored{}, err
	}
	stored, _ := m.look(d)
	if _, err := storage.Found(d, stored.Info); err != nil {
		return storage.Stored{}, err
	}
	if err := storage.CheckBody(d, stored.Info, stored.Body); err != nil {
		return storage.Stored{}, err
	}
	stored.Body = slices.Clone(stored.Body)
	return stored, nil
}

// Stat implements storage.Store.
func (m *Memory) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	stored, ok := m.look(d)
	if !ok {
		return storage.Info{}, fmt.Errorf("%s: %w", d, storage.ErrAbsent)
	}
	return storage.Found(d, stored.Info)
}

func (m *Memory) look(d docid.Document) (storage.Stored, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, ok := m.bodies[d]
	return stored, ok
}

// Save implements storage.Store.
func (m *Memory) Save(ctx context.Context, d docid.Document, expect storage.Version, meta storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	return m.write(ctx, d, expect, storage.Described(meta, body), slices.Clone(body))
}

// Delete implements storage.Store.
func (m *Memory) Delete(ctx context.Context, d docid.Document, expect storage.Version, meta storage.Meta) (storage.Version, error) {
	return m.write(ctx, d, expect, storage.Described(meta, nil), nil)
}

func (m *Memory) write(ctx context.Context, d docid.Document, expect storage.Version, info storage.Info, body []byte) (storage.Version, error) {
	if err := ctx.Err(); err != nil {
		return storage.Absent, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if current := m.bodies[d].Info; current.Version != expect {
		return storage.Absent, storage.Mismatch(d, current)
	}
	if before := m.bodies[d]; storage.Due(d, before.Info, info) {
		m.keepLocked(d, before)
	}
	m.version++
	info.Version = storage.Version(fmt.Sprint("v", m.version))
	m.bodies[d] = storage.Stored{Info: info, Body: body}
	return info.Version, nil
}

// List implements storage.Store.
func (m *Memory) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := errors.Join(ctx.Err(), q.Check()); err != nil {
		return storage.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	matching := map[string]storage.Entry{}
	for d, stored := range m.bodies {
		if key := storage.Key(d); d != storage.MarkerDocument && q.Matches(d) && key > q.After {
			matching[key] = storage.Entry{Document: d, Size: stored.Size, Time: stored.Time, Deleted: stored.Deleted}
		}
	}
	var page storage.Page
	for _, key := range slices.Sorted(maps.Keys(matching)) {
		if len(page.Entries) == q.PageSize() {
			page.Next = storage.Key(page.Entries[len(page.Entries)-1].Document)
			break
		}
		page.Entries = append(page.Entries, matching[key])
	}
	return page, nil
}

// Close implements storage.Store.
func (m *Memory) Close() error { return nil }

// Plant puts a body without metadata into the store, as other tools would.
func (m *Memory) Plant(d docid.Document, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version++
	info := storage.Described(storage.Meta{}, body)
	info.Deleted = false
	info.Version = storage.Version(fmt.Sprint("v", m.version))
	m.bodies[d] = storage.Stored{Info: info, Body: slices.Clone(body)}
}

// Damage cuts the last byte off a body.
func (m *Memory) Damage(d docid.Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored := m.bodies[d]
	stored.Body = stored.Body[:len(stored.Body)-1]
	m.bodies[d] = stored
}
