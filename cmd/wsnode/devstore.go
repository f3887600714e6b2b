package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// openStores opens the stores that all nodes share: by default a folder, which is a
// temporary one without --data.
func (d *dev) openStores(ctx context.Context) error {
	folder := d.flags.data
	if folder == "" && len(d.flags.store.stores) == 0 {
		var err error
		if folder, err = os.MkdirTemp("", "wsnode-documents-"); err != nil {
			return err
		}
		d.temporary = folder
	}
	byDefault := ""
	if folder != "" {
		var err error
		if byDefault, err = documentsIn(folder); err != nil {
			return err
		}
	}
	urls, err := d.flags.store.urls(licenseRegions, byDefault)
	if err != nil {
		return err
	}
	if err := d.flags.store.apply(&d.options, urls); err != nil {
		return err
	}
	d.kept = describeKept(urls)
	if d.temporary != "" {
		d.kept += " (temporary, removed at the end; --data keeps it)"
	}
	d.stores, err = openStores(ctx, urls, func(s storage.Store) storage.Store { return newDevStore(s, &d.storeFails) })
	d.options.Stores = d.stores.of
	return err
}

// describeKept says for people where documents are kept.
func describeKept(urls map[docid.LicenseRegion]string) string {
	var each []string
	places := map[string]bool{}
	for _, license := range slices.Sorted(maps.Keys(urls)) {
		place := storage.Redact(urls[license])
		places[place] = true
		each = append(each, string(license)+"="+place)
	}
	switch len(places) {
	case 0:
		return "none: documents end with their last user"
	case 1:
		return slices.Collect(maps.Keys(places))[0]
	}
	return strings.Join(each, " ")
}

// closeStores closes the stores, after the nodes, and removes a temporary one.
func (d *dev) closeStores() error {
	err := d.stores.close()
	if d.temporary != "" {
		err = errors.Join(err, os.RemoveAll(d.temporary))
	}
	return err
}
