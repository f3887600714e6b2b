// Package storagetest holds stores to the contract of package storage: one suite
// for all backends, ours and others', a store in memory, and a store that fails.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Harness is a backend under test. Functions that are nil leave out the cases
// that need them.
type Harness struct {
	// Store is the store under test. Everything that the suite writes is of the
	// license region License, which has no documents before.
	Store storage.Store

	// Other is a second handle on the same store, as another process has it. It is
	// Store itself where only one process may use a store.
	Other storage.Store

	// Inject makes the way to the store fail from now on, until end is called.
	// Slow is slower than any context of the suite.
	Inject func(Fault) (end func(), err error)

	// Plant puts a body into the store without our metadata, as other tools would.
	Plant func(d docid.Document, body []byte) error

	// Damage cuts the last byte off the body of a document in the store.
	Damage func(d docid.Document) error

	// Large is the length of the largest body that is tried; 0 is 8 MiB.
	Large int

	// Unlisted says that the store cannot list.
	Unlisted bool

	// Versioned is a handle on the same store that keeps copies of former bodies. It is
	// Store itself where only one process may use a store.
	Versioned storage.Versioned
}

// License is the license region of all documents that the suite writes.
const License docid.LicenseRegion = "suite"

// Case is one demand on a store. It returns what is wrong with it.
type Case struct {
	Name  string
	Holds func(ctx context.Context, h *Harness) error
}

// Cases are all demands. They can be checked in any order on the same store, but
// not at the same time.
func Cases() []Case {
	var all []Case
	for _, some := range [][]Case{writing, deleting, reading, versioning, failing} {
		all = append(all, some...)
	}
	return all
}

// Run holds the store to all demands.
func Run(t *testing.T, h *Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := c.Holds(ctx, h); err != nil {
				t.Error(err)
			}
		})
	}
}

// document names a document of one case, which nobody else uses.
func document(name string) docid.Document {
	return docid.Document{License: License, Tenant: "acme", App: "notes", Name: name}
}

func bodyOf(text string) []byte { return []byte(text) }

// holds checks that the store has the body, in the version that a write returned.
func holds(ctx context.Context, s storage.Store, d docid.Document, body []byte, v storage.Version) error {
	got, err := s.Load(ctx, d, nil)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if string(got.Body) != string(body) {
		return fmt.Errorf("loaded %s, expected %s", brief(got.Body), brief(body))
	}
	if got.Version != v || v == storage.Absent {
		return fmt.Errorf("loaded version %q, expected %q, which was written", got.Version, v)
	}
	if got.SHA256 != storage.Sum(body) || got.Size != int64(len(body)) || got.Deleted {
		return fmt.Errorf("loaded with %d bytes, SHA-256 %s, deleted %v; expected those of the body", got.Size, got.SHA256, got.Deleted)
	}
	info, err := s.Stat(ctx, d)
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if info != got.Info {
		return fmt.Errorf("stat says %+v, load says %+v", info, got.Info)
	}
	return nil
}

func brief(body []byte) string {
	if len(body) > 40 {
		return fmt.Sprintf("%d bytes of hash %.8s", len(body), storage.Sum(body))
	}
	return fmt.Sprintf("%q", body)
}

// isAbsent checks that the store says so of a document, and nothing else.
func isAbsent(ctx context.Context, s storage.Store, d docid.Document) error {
	if _, err := s.Load(ctx, d, nil); !errors.Is(err, storage.ErrAbsent) {
		return fmt.Errorf("load of what is not there: %v, expected ErrAbsent", err)
	}
	if _, err := s.Stat(ctx, d); !errors.Is(err, storage.ErrAbsent) {
		return fmt.Errorf("stat of what is not there: %v, expected ErrAbsent", err)
	}
	return nil
}

// conflicts checks that a write met current instead of what it expected.
func conflicts(got storage.Version, err error, current storage.Info) error {
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("a write on another version than the newest: version %q, %v; expected a *ConflictError", got, err)
	}
	return same("conflict", conflict.Current, current)
}

// isDeleted checks that an error tells of the tombstone.
func isDeleted(err error, tombstone storage.Info) error {
	var deleted *storage.DeletedError
	if !errors.As(err, &deleted) || !errors.Is(err, storage.ErrDeleted) {
		return fmt.Errorf("%v, expected a *DeletedError", err)
	}
	return same("tombstone", deleted.Tombstone, tombstone)
}

// same compares what decides: version, generation, hash.
func same(what string, got, expected storage.Info) error {
	if got.Version != expected.Version || got.Generation != expected.Generation || got.Deleted != expected.Deleted ||
		expected.Version != storage.Absent && got.SHA256 != expected.SHA256 {
		return fmt.Errorf("%s tells of version %q, generation %s, deleted %v, SHA-256 %s; expected %q, %s, %v, %s", what,
			got.Version, got.Generation, got.Deleted, got.SHA256,
			expected.Version, expected.Generation, expected.Deleted, expected.SHA256)
	}
	return nil
}

// described is what a store must know of a write.
func described(m storage.Meta, body []byte, v storage.Version) storage.Info {
	info := storage.Described(m, body)
	info.Version = v
	return info
}

// definite are the errors that state facts. A fault must be none of them.
var definite = []error{storage.ErrAbsent, storage.ErrDeleted, storage.ErrConflict, storage.ErrTooLarge}

// isFault checks that an error is there and claims nothing about the document.
func isFault(err error) error {
	if err == nil {
		return errors.New("success, expected the fault")
	}
	for _, fact := range definite {
		if errors.Is(err, fact) {
			return fmt.Errorf("%v: a fault was taken for a fact", err)
		}
	}
	return nil
}
