package preflight

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Store is where the documents of a license region are kept between their lives.
type Store struct {
	License docid.LicenseRegion // empty: whichever it says
	Name    string              // its URL, without secrets
	Open    func(context.Context) (storage.Store, error)
	Timeout time.Duration // 0: DefaultTimeout
}

// Check looks whether it is the right one, and obeys the conditions of writes.
func (s Store) Check(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, max(s.Timeout, DefaultTimeout))
	defer cancel()
	r := &report{license: s.License}
	store, err := s.Open(ctx)
	if err != nil {
		r.add("store", Wrong, mendStore(err), "%v", err)
		return r.findings
	}
	defer store.Close()
	id, err := storage.Identify(ctx, store)
	if err == nil && s.License != "" && !id.Keeps(s.License) {
		r.add("store", Wrong, "give the store of this license region, or name the right one", "%s keeps the documents of %s", s.Name, id.License)
		return r.findings
	}
	if err == nil {
		err = storage.Check(ctx, store)
	}
	if err != nil {
		r.add("store", Wrong, mendStore(err), "%s: %v", s.Name, err)
		return r.findings
	}
	r.add("store", OK, "", "%s is the store %s of %s, and obeys the conditions of writes", s.Name, id.ID, id.License)
	return r.findings
}

// mendStore says what to do about an error of a store.
func mendStore(err error) string {
	switch {
	case errors.Is(err, storage.ErrUnconditional):
		return "use a store with conditional writes: with this one, two nodes overwrite each other's documents"
	case errors.Is(err, storage.ErrAbsent):
		return "if the store is new: wsctl store init; else see whether the bucket, prefix, table or folder is the right one"
	case errors.Is(err, storage.ErrRefused):
		return "see its credentials and permissions: deploy/store has the rights that nodes need"
	case errors.Is(err, storage.ErrInUse):
		return "end the process that uses it, or use a store for several"
	}
	return "see whether it runs, and whether the network allows it"
}
