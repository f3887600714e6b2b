package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
)

// MarkerDocument is not a document: its body says whose store this is. Backends
// keep it like any other, under a key that no document has, and never list it.
var MarkerDocument = docid.Document{Name: ".wsnode/store"}

const markerKey = ".wsnode/store.json"

// AllLicenses is the license region of a store that keeps the documents of whichever
// one: of an installation in one place.
const AllLicenses docid.LicenseRegion = "*"

// KeyFormat is the spelling of keys that this program reads and writes.
const KeyFormat = 1

// Identity is the body of MarkerDocument. A store without it is not believed when
// it says that a document is absent: it may be another bucket, a wrong prefix, or
// a volume that is not mounted.
type Identity struct {
	ID        string              `json:"id"`        // random, by NewStoreID; also stands in the registry
	License   docid.LicenseRegion `json:"license"`   // whose documents it keeps; AllLicenses: all
	KeyFormat int                 `json:"keyFormat"` // KeyFormat of the program that made it
}

// Keeps reports whether the store is for the documents of a license region.
func (id Identity) Keeps(license docid.LicenseRegion) bool {
	return id.License == license || id.License == AllLicenses
}

// NewStoreID draws an id for a new store.
func NewStoreID() string { return rand.Text() }

// Init makes a store one of ours. A store that is one already answers with
// ErrConflict, whatever its identity: Identify tells it.
func Init(ctx context.Context, s Store, id Identity) error {
	if id.ID == "" || id.License != AllLicenses && !docid.ValidRegion(string(id.License)) || id.KeyFormat != KeyFormat {
		return fmt.Errorf("init store: %+v: expected an id, a license region and key format %d", id, KeyFormat)
	}
	body, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if _, err := s.Save(ctx, MarkerDocument, Absent, Meta{}, body); err != nil {
		return fmt.Errorf("init store: %w", err)
	}
	return nil
}

// Adopt makes a store the one of an identity, whatever it was before: a copy in the place
// of a store that is lost. was is the id that its marker is to have now, "" for none;
// ErrConflict says that it has another one, or that somebody else was faster. Nothing
// else may use the store meanwhile.
func Adopt(ctx context.Context, s Store, was string, id Identity) error {
	now, stored, err := identify(ctx, s)
	switch {
	case errors.Is(err, ErrAbsent) && was == "":
		return Init(ctx, s, id)
	case err != nil:
		return err
	case now.ID != was:
		return fmt.Errorf("adopt store: %w: its id is %s, expected %q", ErrConflict, now.ID, was)
	case now == id:
		return nil
	}
	body, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if _, err := s.Save(ctx, MarkerDocument, stored.Version, stored.Meta, body); err != nil {
		return fmt.Errorf("adopt store: %w", err)
	}
	return nil
}

// Identify returns the store's identity. ErrAbsent says that it has none: whoever
// is not sure that the store is new must not use it.
func Identify(ctx context.Context, s Store) (Identity, error) {
	id, _, err := identify(ctx, s)
	return id, err
}

func identify(ctx context.Context, s Store) (Identity, Stored, error) {
	stored, err := s.Load(ctx, MarkerDocument, nil)
	if err != nil {
		return Identity{}, Stored{}, fmt.Errorf("identify store: %w", err)
	}
	var id Identity
	if err := json.Unmarshal(stored.Body, &id); err != nil {
		return Identity{}, Stored{}, fmt.Errorf("identify store: %w", Corrupt(MarkerDocument, "%v", err))
	}
	if id.ID == "" || id.KeyFormat != KeyFormat {
		return id, stored, fmt.Errorf("identify store: id %q, key format %d: expected an id and key format %d", id.ID, id.KeyFormat, KeyFormat)
	}
	return id, stored, nil
}

// checkAttempts bound how often Check begins anew when others check at the same time.
const checkAttempts = 20

// Check tries on the marker whether the store obeys conditions, and may be read,
// written and listed: creating it again must fail, as must replacing a version
// that it no longer has, and writing it on its newest version must succeed. The marker
// stays the same, whatever happens. Any number of nodes may check at once.
// ErrUnconditional says that a condition was not obeyed, ErrAbsent that the store has
// no marker.
func Check(ctx context.Context, s Store) error {
	err := check(ctx, s)
	for attempt := 1; attempt < checkAttempts && errors.Is(err, ErrConflict) && ctx.Err() == nil; attempt++ {
		if pause.Between(ctx, 0, time.Duration(attempt)*10*time.Millisecond) {
			err = check(ctx, s)
		}
	}
	if err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	return nil
}

// check is one attempt. A conflict says that somebody else wrote meanwhile.
func check(ctx context.Context, s Store) error {
	_, stored, err := identify(ctx, s)
	if err != nil {
		return err
	}
	if err := refused(s.Save(ctx, MarkerDocument, Absent, stored.Meta, stored.Body)); err != nil {
		return fmt.Errorf("create what is there: %w", err)
	}
	// A version of another body, which nobody else's check writes: many a version is a
	// hash.
	body := bytes.TrimSpace(stored.Body)
	other, err := s.Save(ctx, MarkerDocument, stored.Version, stored.Meta, append(bytes.Clone(body), space()...))
	if err != nil {
		return fmt.Errorf("write on the newest version: %w", err)
	}
	last, err := s.Save(ctx, MarkerDocument, other, stored.Meta, body)
	if err != nil {
		return fmt.Errorf("write on the newest version: %w", err)
	}
	if err := refused(s.Save(ctx, MarkerDocument, other, stored.Meta, body)); err != nil {
		return fmt.Errorf("write on an old version: %w", err)
	}
	now, err := s.Stat(ctx, MarkerDocument)
	if err != nil {
		return err
	}
	if now.Version == other || now.Version == stored.Version && stored.Version != last {
		return fmt.Errorf("version %s was written, and %s, which is older, is read", last, now.Version)
	}
	if _, err := s.List(ctx, Query{Limit: 1}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// space draws white space that JSON ignores.
func space() []byte {
	b := make([]byte, 100)
	for i := range b {
		b[i] = " \t"[mathrand.IntN(2)]
	}
	return b
}

// refused turns the conflict that must come into success.
func refused(_ Version, err error) error {
	switch {
	case err == nil:
		return ErrUnconditional
	case errors.Is(err, ErrConflict):
		return nil
	}
	return err
}
