package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// errStoreFails is what a store answers that the playground made fail.
var errStoreFails = errors.New("the playground makes the store fail")

// devStore is a store that can be made to fail: it then neither reads nor writes, as one
// whose service is down.
type devStore struct {
	storage.Store
	fails *atomic.Bool // of all stores of the process
}

func (s devStore) fault() error {
	if s.fails.Load() {
		return errStoreFails
	}
	return nil
}

// Load implements storage.Store.
func (s devStore) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	if err := s.fault(); err != nil {
		return storage.Stored{}, err
	}
	return s.Store.Load(ctx, d, reserve)
}

// Stat implements storage.Store.
func (s devStore) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	if err := s.fault(); err != nil {
		return storage.Info{}, err
	}
	return s.Store.Stat(ctx, d)
}

// Save implements storage.Store.
func (s devStore) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := s.fault(); err != nil {
		return storage.Absent, err
	}
	return s.Store.Save(ctx, d, expect, m, body)
}

// Delete implements storage.Store.
func (s devStore) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	if err := s.fault(); err != nil {
		return storage.Absent, err
	}
	return s.Store.Delete(ctx, d, expect, m)
}

// List implements storage.Store.
func (s devStore) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := s.fault(); err != nil {
		return storage.Page{}, err
	}
	return s.Store.List(ctx, q)
}

// Exclusive reports whether only one process may have the store.
func (s devStore) Exclusive() bool {
	x, ok := s.Store.(interface{ Exclusive() bool })
	return ok && x.Exclusive()
}

// devVersions is one that keeps versions.
type devVersions struct {
	devStore
	versions storage.Versioned
}

func newDevStore(s storage.Store, fails *atomic.Bool) storage.Store {
	if v, ok := s.(storage.Versioned); ok {
		return devVersions{devStore{s, fails}, v}
	}
	return devStore{s, fails}
}

// Keeps implements storage.Versioned.
func (s devVersions) Keeps() time.Duration { return s.versions.Keeps() }

// Copies implements storage.Versioned.
func (s devVersions) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.versions.Copies(ctx, d)
}

// LoadCopy implements storage.Versioned.
func (s devVersions) LoadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	if err := s.fault(); err != nil {
		return storage.Stored{}, err
	}
	return s.versions.LoadCopy(ctx, d, id, reserve)
}

// Expire implements storage.Versioned.
func (s devVersions) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (int, error) {
	if err := s.fault(); err != nil {
		return 0, err
	}
	return s.versions.Expire(ctx, l, before)
}

// Erase implements storage.Versioned.
func (s devVersions) Erase(ctx context.Context, d docid.Document) (int, error) {
	if err := s.fault(); err != nil {
		return 0, err
	}
	return s.versions.Erase(ctx, d)
}

// storeState is for the playground: "none", "works" or "fails".
func (d *dev) storeState() string {
	switch {
	case len(d.stores.of) == 0:
		return "none"
	case d.storeFails.Load():
		return "fails"
	}
	return "works"
}

// steerStore makes the stores of all nodes fail, and work again.
func (d *dev) steerStore(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("what")
	if what != "fail" && what != "work" {
		writeProblem(w, http.StatusBadRequest, "bad_request", "Expected fail or work")
		return
	}
	if len(d.stores.of) == 0 {
		writeProblem(w, http.StatusNotFound, "not_found", "No store: documents end with their last user")
		return
	}
	d.storeFails.Store(what == "fail")
	w.WriteHeader(http.StatusNoContent)
}
