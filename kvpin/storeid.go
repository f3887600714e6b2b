package kvpin

import (
	"context"
	"errors"
	"fmt"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// storeIDKey holds the id of the store that keeps a license region's documents
// between their lives. It is written once: whoever changes it takes all documents
// that are stored for lost.
const storeIDKey = storePrefix + "id"

// NoStore is what a node that keeps no documents says of itself in About.Store. A
// node of a version that knows of no stores says nothing.
const NoStore = "none"

// StoreID returns the id of the store that the registry names, "" if it names none.
func (r *Registry) StoreID(ctx context.Context, license docid.LicenseRegion) (string, error) {
	b, err := r.bucket(license)
	if err != nil {
		return "", err
	}
	e, err := b.requests.get(ctx, storeIDKey)
	if err != nil || !e.Present {
		return "", err
	}
	return string(e.Value), nil
}

// NameStore writes the id of the store into a registry that names none, and returns
// the one that it names then: of nodes that do so at once one wins.
func (r *Registry) NameStore(ctx context.Context, license docid.LicenseRegion, id string) (string, error) {
	b, err := r.bucket(license)
	if err != nil {
		return "", err
	}
	// Three replicas refuse the first write of a key now and then, although nobody else
	// has written it.
	for range nameAttempts {
		var e kv.Entry
		if e, err = b.requests.get(ctx, storeIDKey); err != nil {
			break
		}
		if e.Present {
			return string(e.Value), nil
		}
		if _, err = b.requests.put(ctx, storeIDKey, []byte(id), e.Revision, 0); err == nil {
			return id, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return "", fmt.Errorf("name the store of %s: %w", license, err)
}

const nameAttempts = 5

// Unused reports whether a registry holds no pin: no document is live.
func (r *Registry) Unused(ctx context.Context, license docid.LicenseRegion) (bool, error) {
	b, err := r.bucket(license)
	if err != nil {
		return false, err
	}
	err = b.store.Scan(ctx, pinKeys, func(e kv.Entry) error {
		if e.Present {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return false, nil
	}
	return err == nil, err
}

// StoreID returns the id of the store that a registry names, "" if it names none.
func (i *Inspector) StoreID(ctx context.Context, license docid.LicenseRegion) (string, error) {
	s, err := i.store(license)
	if err != nil {
		return "", err
	}
	e, err := s.Get(ctx, storeIDKey)
	if err != nil || !e.Present {
		return "", err
	}
	return string(e.Value), nil
}

// NameStore writes the id of the store into a registry in the place of the one that
// it names, which is ErrConflict if it is another one. "" stands for none on both
// sides.
func (i *Inspector) NameStore(ctx context.Context, license docid.LicenseRegion, before, id string) error {
	s, err := i.store(license)
	if err != nil {
		return err
	}
	e, err := s.Get(ctx, storeIDKey)
	if err != nil {
		return err
	}
	now := ""
	if e.Present {
		now = string(e.Value)
	}
	switch {
	case now != before:
		return fmt.Errorf("name the store of %s: %w: it names %q", license, ErrConflict, now)
	case now == id:
		return nil
	case id == "":
		err = s.Delete(ctx, storeIDKey, e.Revision)
	default:
		_, err = s.Put(ctx, storeIDKey, []byte(id), e.Revision, 0)
	}
	if err != nil {
		return fmt.Errorf("name the store of %s: %w", license, err)
	}
	return nil
}
