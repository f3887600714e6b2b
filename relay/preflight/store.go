package preflight

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
)

// Store is where the documents of a license region are kept between their lives.
type Store struct {
	License  docid.LicenseRegion // empty: whichever it says
	Name     string              // its URL, without secrets
	Open     func(context.Context) (storage.Store, error)
	Registry *kvpin.Source // of the license region, which names the store; nil skips that check
	Timeout  time.Duration // 0: DefaultTimeout
}

// Check looks whether it is the right one, and obeys the conditions of writes.
func (s Store) Check(ctx context.Context) []Finding {
	findings, _ := s.check(ctx)
	return findings
}

// check returns the store's id as well, if it is the right one.
func (s Store) check(ctx context.Context) (findings []Finding, id string) {
	ctx, cancel := context.WithTimeout(ctx, max(s.Timeout, DefaultTimeout))
	defer cancel()
	r := &report{license: s.License}
	store, err := s.Open(ctx)
	if err != nil {
		r.add("store", Wrong, mendStore(err), "%v", err)
		return r.findings, ""
	}
	defer store.Close()
	named := s.named(ctx)
	is, err := storage.Identify(ctx, store)
	const another = "see whether the bucket, prefix, table or folder is the right one, and is there; else wsctl store init"
	switch {
	case errors.Is(err, storage.ErrAbsent) && named == "" && s.Registry != nil:
		r.add("store", Weak, "if it is the right one, nothing where nodes may name it, else wsctl store init", "%s has no marker, and the registry names no store yet: the first node makes it this installation's", s.Name)
		return r.findings, ""
	case errors.Is(err, storage.ErrAbsent) && named != "":
		r.add("store", Wrong, another, "%s has no marker, and the registry names store %s", s.Name, named)
		return r.findings, ""
	case err == nil && s.License != "" && !is.Keeps(s.License):
		r.add("store", Wrong, "give the store of this license region", "%s keeps the documents of %s", s.Name, is.License)
		return r.findings, ""
	case err == nil && named != "" && named != is.ID:
		r.add("store", Wrong, another, "%s is store %s, and the registry names %s", s.Name, is.ID, named)
		return r.findings, ""
	case err == nil:
		err = storage.Check(ctx, store)
	}
	if err != nil {
		r.add("store", Wrong, mendStore(err), "%s: %v", s.Name, err)
		return r.findings, ""
	}
	r.add("store", OK, "", "%s is store %s, and obeys the conditions of writes", s.Name, is.ID)
	return r.findings, is.ID
}

// named is the store that the registry names, empty if that is not known: why is found
// by the check of the registry.
func (s Store) named(ctx context.Context) string {
	if s.Registry == nil {
		return ""
	}
	source := *s.Registry
	nc, err := connect(source.URL, source.Options, max(s.Timeout, DefaultTimeout)) // an inspector would try on
	if err != nil {
		return ""
	}
	nc.Close()
	i, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{s.License: source})
	if err != nil {
		return ""
	}
	defer i.Close()
	id, _ := i.StoreID(ctx, s.License)
	return id
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
