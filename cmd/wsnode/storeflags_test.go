package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/storage"
)

const ireland, virginia docid.LicenseRegion = "aws-eu-west-1", "aws-us-east-1"

// parseStores reads flags as serve does.
func parseStores(t *testing.T, byDefault string, args ...string) (map[docid.LicenseRegion]string, relay.Options, error) {
	t.Helper()
	var f storeFlags
	fl := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.register(fl, "none")
	if err := fl.Parse(args); err != nil {
		t.Fatal(err)
	}
	var c relay.Options
	urls, err := f.urls([]docid.LicenseRegion{ireland, virginia}, byDefault)
	if err == nil {
		err = f.apply(&c, urls)
	}
	return urls, c, err
}

func TestStoresAreForLicenseRegions(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(secret, []byte("postgres://wsnode:SECRET@db/wsnode\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		byDefault string
		args      []string
		ireland   string
		virginia  string
	}{
		"nothing":            {"", nil, "", ""},
		"the default":        {"file:///data/documents", nil, "file:///data/documents", "file:///data/documents"},
		"none":               {"file:///data/documents", []string{"--store", "none"}, "", ""},
		"one for all":        {"file:///data/documents", []string{"--store", "s3://bucket?region=x"}, "s3://bucket?region=x", "s3://bucket?region=x"},
		"one for one":        {"", []string{"--store", "aws-us-east-1=s3://bucket?region=x"}, "", "s3://bucket?region=x"},
		"one and the others": {"", []string{"--store", "s3://rest", "--store", "aws-eu-west-1=s3://eu"}, "s3://eu", "s3://rest"},
		"a URL in a file":    {"", []string{"--store", "file:" + secret}, "postgres://wsnode:SECRET@db/wsnode", "postgres://wsnode:SECRET@db/wsnode"},
		"in a file, for one": {"", []string{"--store", "aws-eu-west-1=file:" + secret}, "postgres://wsnode:SECRET@db/wsnode", ""},
	} {
		t.Run(name, func(t *testing.T) {
			urls, _, err := parseStores(t, c.byDefault, c.args...)
			if err != nil || urls[ireland] != c.ireland || urls[virginia] != c.virginia {
				t.Errorf("got %v, %v; expected %q and %q", urls, err, c.ireland, c.virginia)
			}
		})
	}
}

func TestStoresThatCannotBeMeantAreRefusedInALine(t *testing.T) {
	for name, c := range map[string]struct {
		args     []string
		expected string
	}{
		"none and one":          {[]string{"--store", "none", "--store", "s3://bucket"}, "--store: expected nothing beside none"},
		"two for all":           {[]string{"--store", "s3://a", "--store", "s3://b"}, "--store: value 2: expected dbCode=URL"},
		"two for one":           {[]string{"--store", "aws-eu-west-1=s3://a", "--store", "aws-eu-west-1=s3://b"}, "aws-eu-west-1 is there twice"},
		"not served":            {[]string{"--store", "aws-ap-south-1=s3://a"}, "aws-ap-south-1 is not served"},
		"a folder without URL":  {[]string{"--store", "/var/lib/wsnode"}, "expected a URL"},
		"a folder as a file":    {[]string{"--store", "file:" + os.TempDir()}, "a directory is file:// and its absolute path"},
		"a password":            {[]string{"--store", "postgres://wsnode:SECRET@db/wsnode"}, "passfile="},
		"a password, otherwise": {[]string{"--store", "aws-eu-west-1=postgres://wsnode@db/wsnode?password=SECRET"}, "passfile="},
		"interval alone":        {[]string{"--store-interval", "1m"}, "--store-interval: expected a --store beside it"},
		"bytes beside none":     {[]string{"--store", "none", "--store-bytes", "100000000"}, "--store-bytes: expected a --store beside it"},
		"a short interval":      {[]string{"--store", "s3://a", "--store-interval", "10ms"}, "--store-interval: 10ms: expected at least 1s"},
		"a short timeout":       {[]string{"--store", "s3://a", "--store-timeout", "0"}, "--store-timeout: 0s: expected at least 1s"},
		"little memory":         {[]string{"--store", "s3://a", "--store-bytes", "1"}, "--store-bytes: 1: expected at least 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parseStores(t, "", c.args...)
			if err == nil || !strings.Contains(err.Error(), c.expected) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v, expected %q", err, c.expected)
			}
		})
	}
	if _, err := openStores(t.Context(), map[docid.LicenseRegion]string{ireland: "s3://KEY:SECRET@bucket?region=x&secret-access-key=SECRET"}, nil); err == nil ||
		!strings.Contains(err.Error(), "--store") || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a store that cannot be opened: %v", err)
	}
}

func TestAStoreIsOpenedOnceForAllItsLicenseRegions(t *testing.T) {
	urls := map[docid.LicenseRegion]string{ireland: "file://" + t.TempDir(), virginia: ""}
	urls[virginia] = urls[ireland]
	wrapped := 0
	o, err := openStores(t.Context(), urls, func(s storage.Store) storage.Store { wrapped++; return s })
	if err != nil {
		t.Fatal(err)
	}
	if o.of[ireland] == nil || o.of[ireland] != o.of[virginia] || wrapped != 1 {
		t.Errorf("%v, wrapped %d times", o.of, wrapped)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
	if o, err = openStores(t.Context(), urls, nil); err != nil {
		t.Errorf("it was not closed: %v", err)
	}
	_ = o.close()
}

func TestItIsLoggedOnceWhereDocumentsAreKept(t *testing.T) {
	served := []docid.LicenseRegion{ireland, virginia}
	for expected, urls := range map[string]map[docid.LicenseRegion]string{
		"documents end with their last user":                                      {},
		"documents of license regions without a --store end with their last user": {ireland: "s3://bucket"},
		"postgres://wsnode:xxxxx@db":                                              {ireland: "postgres://wsnode:SECRET@db", virginia: "postgres://wsnode:SECRET@db"},
	} {
		var out bytes.Buffer
		describeStores(slog.New(slog.NewTextHandler(&out, nil)), urls, served)
		if strings.Count(out.String(), expected) != 1 || strings.Contains(out.String(), "SECRET") {
			t.Errorf("%q, expected %q once", out.String(), expected)
		}
	}
}
