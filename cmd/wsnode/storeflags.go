package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/preflight"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

// storeFlags say where documents are kept between their lives.
type storeFlags struct {
	stores            []string
	interval, timeout time.Duration
	bytes             int64
	set               *pflag.FlagSet
}

// storeNone switches storing off where it is on by default.
const storeNone = "none"

func (f *storeFlags) register(fl *pflag.FlagSet, byDefault string) {
	f.set = fl
	fl.StringArrayVar(&f.stores, "store", nil, "where documents are kept after their last user, as URL or dbCode=URL, or file:PATH of a file that holds the URL; "+storeNone+": nowhere; repeat for each license region ("+byDefault+")")
	fl.DurationVar(&f.interval, "store-interval", time.Minute, "least time between two saves of one document, but for the last one")
	fl.DurationVar(&f.timeout, "store-timeout", relay.DefaultStoreTimeout, "how long a store has for an answer, and 1 s more for each MiB")
	fl.Int64Var(&f.bytes, "store-bytes", 256<<20, "memory for all documents that are loaded and saved at the same time")
}

const (
	leastStoreInterval = time.Second
	leastStoreTimeout  = time.Second
	leastStoreBytes    = 1 << 20
	// storeFirst is how soon after its first edit a document that nobody edited is saved.
	storeFirst = 5 * time.Second
)

// apply checks the settings and puts them into the node's. The stores are opened by
// open.
func (f *storeFlags) apply(c *relay.Options, stores map[docid.LicenseRegion]string) error {
	for _, name := range []string{"store-interval", "store-timeout", "store-bytes"} {
		if len(stores) == 0 && f.set.Changed(name) {
			return wrongFlag(name, "expected a --store beside it")
		}
	}
	switch {
	case f.interval < leastStoreInterval:
		return wrongFlag("store-interval", "%s: expected at least %s", f.interval, leastStoreInterval)
	case f.timeout < leastStoreTimeout:
		return wrongFlag("store-timeout", "%s: expected at least %s", f.timeout, leastStoreTimeout)
	case f.bytes < leastStoreBytes:
		return wrongFlag("store-bytes", "%d: expected at least %d", f.bytes, leastStoreBytes)
	}
	c.Config.StoreInterval, c.Config.StoreFirst = f.interval, min(storeFirst, f.interval)
	c.Config.StoreBytes, c.StoreTimeout = f.bytes, f.timeout
	return nil
}

// urls returns the URL of each license region's store, of those that are served. Errors
// show no secret.
func (f *storeFlags) urls(served []docid.LicenseRegion, byDefault string) (map[docid.LicenseRegion]string, error) {
	found := map[docid.LicenseRegion]string{}
	if slices.Contains(f.stores, storeNone) {
		if len(f.stores) > 1 {
			return nil, wrongFlag("store", "expected nothing beside %s", storeNone)
		}
		return found, nil
	}
	values := f.stores
	if len(values) == 0 && byDefault != "" {
		values = []string{byDefault}
	}
	common := ""
	for i, value := range values {
		license, address := splitStore(value)
		address, err := storeURL(address)
		switch {
		case err != nil:
			return nil, wrongFlag("store", "value %d: %v", i+1, err)
		case license == "" && common != "":
			return nil, wrongFlag("store", "value %d: expected dbCode=URL: two stores cannot both be for all license regions", i+1)
		case license == "":
			common = address
		case found[license] != "":
			return nil, wrongFlag("store", "%s is there twice", license)
		case !slices.Contains(served, license):
			return nil, wrongFlag("store", "%s is not served: expected one of the registries", license)
		default:
			found[license] = address
		}
	}
	for _, license := range served {
		if found[license] == "" && common != "" {
			found[license] = common
		}
	}
	return found, nil
}

// splitStore takes dbCode=URL apart. URLs have '=' in their parameters, too.
func splitStore(value string) (docid.LicenseRegion, string) {
	license, address, ok := strings.Cut(value, "=")
	if ok && docid.ValidRegion(license) && strings.HasPrefix(license, "aws-") {
		return docid.LicenseRegion(license), address
	}
	return "", value
}

// storeURL reads the URL out of a file if file:PATH names one, and refuses a password
// that everybody on the machine could see.
func storeURL(value string) (string, error) {
	path, inFile := strings.CutPrefix(value, "file:")
	if inFile = inFile && !strings.HasPrefix(path, "//"); inFile {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%w: file:PATH is a file that holds a URL; a directory is file:// and its absolute path", err)
		}
		value = strings.TrimSpace(string(content))
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme == "":
		return "", fmt.Errorf("%s: expected a URL, such as file:///var/lib/wsnode/documents or s3://bucket/prefix", storage.Redact(value))
	case inFile:
		return value, nil
	}
	_, password := u.User.Password()
	if password || u.Query().Has("password") {
		return "", fmt.Errorf("%s: others on the machine see arguments and environments: expected the password in passfile=, or the URL in a file, as file:PATH", storage.Redact(value))
	}
	return value, nil
}

// openedStores are the stores of a process, each opened once for all license regions
// that it is for.
type openedStores struct {
	of   map[docid.LicenseRegion]storage.Store
	once []storage.Store
}

// openStores opens the stores. wrap, if it is not nil, puts something around each.
func openStores(ctx context.Context, urls map[docid.LicenseRegion]string, wrap func(storage.Store) storage.Store) (o openedStores, err error) {
	o.of = map[docid.LicenseRegion]storage.Store{}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	users := map[string][]docid.LicenseRegion{}
	for license, address := range urls {
		users[address] = append(users[address], license)
	}
	for address, licenses := range users {
		var only docid.LicenseRegion
		if len(licenses) == 1 {
			only = licenses[0]
		}
		s, err := open.Open(ctx, address, only)
		if err != nil {
			return o, wrongFlag("store", "%v", err)
		}
		if wrap != nil {
			s = wrap(s)
		}
		o.once = append(o.once, s)
		for _, license := range licenses {
			o.of[license] = s
		}
	}
	return o, nil
}

// reloads are the secrets of stores, where these have some in files.
func (o *openedStores) reloads() (all []reload) {
	for _, s := range o.once {
		if again, ok := s.(interface{ Reload() error }); ok {
			all = append(all, reload{"secrets of a store", again.Reload})
		}
	}
	return all
}

func (o *openedStores) close() error {
	var errs []error
	for _, s := range o.once {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// checkedStores is what there is to look at. A folder that is not there yet is made by
// the node.
func checkedStores(urls map[docid.LicenseRegion]string) (checked []preflight.Store) {
	for _, license := range slices.Sorted(maps.Keys(urls)) {
		address := urls[license]
		if u, err := url.Parse(address); err == nil && u.Scheme == "file" {
			if _, err := os.Stat(u.Path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		checked = append(checked, preflight.Store{
			License: license, Name: storage.Redact(address),
			Open: func(ctx context.Context) (storage.Store, error) { return open.Open(ctx, address, license) },
		})
	}
	return checked
}

// describeStores logs once, at the start, where documents are kept.
func describeStores(log *slog.Logger, urls map[docid.LicenseRegion]string, served []docid.LicenseRegion) {
	var without []docid.LicenseRegion
	of := map[string][]docid.LicenseRegion{}
	for _, license := range served {
		if address := urls[license]; address != "" {
			of[storage.Redact(address)] = append(of[storage.Redact(address)], license)
		} else {
			without = append(without, license)
		}
	}
	for address, licenses := range of {
		log.Info("documents are kept in a store", "store", address, "licenses", licenses)
	}
	switch {
	case len(of) == 0:
		log.Info("documents end with their last user: there is no --store")
	case len(without) > 0:
		log.Info("documents of license regions without a --store end with their last user", "licenses", without)
	}
}

// documentsIn is the default store below a data folder.
func documentsIn(folder string) (string, error) {
	absolute, err := filepath.Abs(filepath.Join(folder, documentsFolder))
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(absolute)}).String(), nil
}

const documentsFolder = "documents"
