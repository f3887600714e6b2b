package preflight

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

func TestTheSecretOfTokensIsLookedAt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	look := func() Finding {
		t.Helper()
		found := Keys{Config: authn.Config{SecretFile: file}}.Check(t.Context())
		if len(found) != 1 || found[0].Check != "HS256 secret" {
			t.Fatalf("found %+v", found)
		}
		return found[0]
	}
	if f := look(); f.Result != Wrong || !strings.Contains(f.Text(), "--hs256-secret-file") {
		t.Errorf("without a file: %+v", f)
	}
	for content, result := range map[string]string{"short": Wrong, strings.Repeat("long enough ", 3): OK} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f := look(); f.Result != result || strings.Contains(f.Text(), content) {
			t.Errorf("%q: %+v", content, f)
		}
	}
}
