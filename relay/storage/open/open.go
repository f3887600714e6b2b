// Package open opens stores by their URLs. It is for commands: it brings along the
// libraries of all backends, which the relay does not import.
package open

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/file"
	"github.com/wsnode/wsnode/relay/storage/http"
	"github.com/wsnode/wsnode/relay/storage/postgres"
	"github.com/wsnode/wsnode/relay/storage/s3"
)

// Open opens the store of a URL for the documents of a license region:
//
//	file:///var/lib/wsnode/documents?versions=
//	s3://bucket/prefix?region=&endpoint=&profile=&role-arn=&path-style=1&sse=&kms-key=&versions=
//	postgres://user@host/database?table=&passfile=&versions=, and what libpq knows
//	https://backend/{dbCode}/{tenantId}/{appId}/{document}?secret-file=
//
// Its errors show no secret of the URL.
func Open(ctx context.Context, raw string, license docid.LicenseRegion) (storage.Store, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("store %s: it is no URL", storage.Redact(raw))
	}
	store, err := open(ctx, u, raw, license)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", storage.Redact(raw), err)
	}
	return store, nil
}

func open(ctx context.Context, u *url.URL, raw string, license docid.LicenseRegion) (storage.Store, error) {
	switch u.Scheme {
	case "file":
		return openFile(ctx, u)
	case "s3":
		return openS3(ctx, u)
	case "postgres", "postgresql":
		return openPostgres(ctx, u)
	case "https", "http":
		return openHTTP(ctx, u, raw, license)
	}
	return nil, errors.New("expected file://, s3://, postgres:// or https://")
}

// known refuses parameters that a store does not have: a misspelled one would be a
// setting that is not in force.
func known(u *url.URL, names ...string) (url.Values, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("its parameters cannot be read")
	}
	for name, values := range query {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("parameter %q: expected one of %v", name, names)
		}
		if len(values) != 1 {
			return nil, fmt.Errorf("parameter %q: expected once", name)
		}
	}
	return query, nil
}

// errSecret is for what a URL must not hold: it is in the list of processes.
var errSecret = errors.New("expected no user and no password: credentials come from the environment, files and roles")

func openFile(ctx context.Context, u *url.URL) (storage.Store, error) {
	query, err := known(u, versions)
	if err != nil {
		return nil, err
	}
	keep, err := keepVersions(query)
	if err != nil {
		return nil, err
	}
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.Opaque != "" {
		return nil, errors.New("expected file:/// and an absolute path")
	}
	return asStore(file.Open(ctx, file.Config{Dir: u.Path, Versions: keep}))
}

func openS3(ctx context.Context, u *url.URL) (storage.Store, error) {
	c, err := readS3(u)
	if err != nil {
		return nil, err
	}
	return asStore(s3.Open(ctx, c))
}

// S3 reads the URL of a bucket, whether documents are kept in it or in another way. Its
// errors show no secret of the URL.
func S3(raw string) (s3.Config, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "s3" {
		return s3.Config{}, fmt.Errorf("%s: expected s3://bucket/prefix", storage.Redact(raw))
	}
	c, err := readS3(u)
	if err != nil {
		err = fmt.Errorf("%s: %w", storage.Redact(raw), err)
	}
	return c, err
}

func readS3(u *url.URL) (c s3.Config, err error) {
	query, err := known(u, "region", "endpoint", "profile", "role-arn", "path-style", "sse", "kms-key", versions)
	if err != nil {
		return c, err
	}
	if u.User != nil {
		return c, errSecret
	}
	style := query.Get("path-style")
	if style != "" && style != "0" && style != "1" {
		return c, fmt.Errorf("path-style %q: expected 0 or 1", style)
	}
	c = s3.Config{
		Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: query.Get("endpoint"), Region: query.Get("region"),
		Profile: query.Get("profile"), RoleARN: query.Get("role-arn"), PathStyle: style == "1", SSE: query.Get("sse"), KMSKey: query.Get("kms-key"),
	}
	c.Versions, err = keepVersions(query)
	return c, err
}

// openPostgres takes its own parameters out of the URL; the others are libpq's.
func openPostgres(ctx context.Context, u *url.URL) (storage.Store, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("its parameters cannot be read")
	}
	keep, err := keepVersions(query)
	if err != nil {
		return nil, err
	}
	c := postgres.Config{Table: query.Get("table"), PassFile: query.Get("passfile"), Versions: keep}
	query.Del("table")
	query.Del("passfile")
	query.Del(versions)
	rest := *u
	rest.RawQuery = query.Encode()
	c.URL = rest.String()
	return asStore(postgres.Open(ctx, c))
}

func openHTTP(ctx context.Context, u *url.URL, raw string, license docid.LicenseRegion) (storage.Store, error) {
	if u.Query().Has(versions) {
		return nil, errors.New("versions: expected none: which versions are kept is the affair of the backend that answers")
	}
	query, err := known(u, "secret-file")
	if err != nil {
		return nil, err
	}
	if u.User != nil {
		return nil, errSecret
	}
	address, _, _ := strings.Cut(raw, "?")
	return asStore(http.Open(ctx, http.Config{URL: address, License: license, SecretFile: query.Get("secret-file")}))
}

// versions is the parameter that says how long former bodies are kept.
const versions = "versions"

// keepVersions reads it: days, such as 30d, or what time.ParseDuration reads.
func keepVersions(query url.Values) (time.Duration, error) {
	text := query.Get(versions)
	if text == "" {
		return 0, nil
	}
	keep, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		keep = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || keep < storage.MinKeep {
		return 0, fmt.Errorf("versions=%s: expected for how long, such as 30d, and at least %s", text, storage.MinKeep)
	}
	return keep, nil
}

// asStore keeps a nil pointer of a backend's from becoming a store.
func asStore[S storage.Store](s S, err error) (storage.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
