package open_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

func TestEachSchemeIsItsBackend(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	for raw, expected := range map[string]string{
		"file://" + dir + "/documents":                                                 "*file.Store",
		"s3://bucket/a/prefix/?region=eu-central-1&sse=aws:kms&kms-key=k":              "*s3.Store",
		"s3://bucket?endpoint=http://127.0.0.1:9000&path-style=1":                      "*s3.Store",
		"postgres://wsnode@127.0.0.1:1/db?sslmode=disable&table=docs":                  "*postgres.Store",
		"file://" + dir + "/versioned?versions=30d":                                    "*file.Store",
		"s3://bucket?region=x&versions=12h":                                            "*s3.Store",
		"postgres://wsnode@127.0.0.1:1/db?versions=1d":                                 "*postgres.Store",
		"https://backend/{tenantId}/{appId}/{document}":                                "*http.Store",
		"https://backend/{dbCode}/{tenantId}/{appId}/{document}?secret-file=" + secret: "*http.Store",
	} {
		s, err := open.Open(t.Context(), raw, "aws-eu-west-1")
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if v, ok := s.(storage.Versioned); strings.Contains(raw, "versions=") && (!ok || v.Keeps() < storage.MinKeep) {
			t.Errorf("%s keeps no versions", raw)
		}
		if got := fmt.Sprintf("%T", s); got != expected {
			t.Errorf("%s: %s, expected %s", raw, got, expected)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestWrongURLsAreRefusedWithoutTheirSecrets(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_REGION", "")
	for _, raw := range []string{
		"", "documents", "/var/lib", "ftp://h/x", "file://host/x", "file:x", "file:///x?mode=1", "s3://", "s3://bucket", "s3://KEY:SECRET@bucket?region=x",
		"s3://bucket?region=x&path-style=yes", "s3://bucket?region=x&region=y", "s3://bucket?region=x&secret-key=SECRET", "s3://bucket?region=x&%zz=SECRET",
		"postgres://u:SECRET@h/db?sslmode=SOMETIMES", "postgres://u:SECRET@h:port/db", "postgres://u:SECRET@h/db?table=a;b", "postgres://u@h/db?passfile=/no/such/file",
		"https://SECRET@h/{tenantId}/{appId}/{document}", "https://h/{tenantId}", "https://h/{tenantId}/{appId}/{document}?token=SECRET",
		"https://h/{tenantId}/{appId}/{document}?secret-file=/no/such/file", "https://h/%zz?SECRET",
		"file:///x?versions=0d", "file:///x?versions=30", "s3://b?region=x&versions=59m", "postgres://u@h/db?versions=-1d",
		"https://h/{tenantId}/{appId}/{document}?versions=30d",
	} {
		s, err := open.Open(t.Context(), raw, "aws-eu-west-1")
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", raw)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
