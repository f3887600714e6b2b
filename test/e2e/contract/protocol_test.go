package contract

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// fields are the paths of all fields of an answer, of arrays those of the items.
func fields(t *testing.T, text string) []string {
	t.Helper()
	var body any
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	paths := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		paths[path] = true
		switch v := v.(type) {
		case map[string]any:
			for name, field := range v {
				walk(path+"."+name, field)
			}
		case []any:
			for _, item := range v {
				walk(path+"[]", item)
			}
		}
	}
	walk("", body)
	return slices.Sorted(maps.Keys(paths))
}

func TestTheProtocolShowsTheAnswersThatAreSent(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys := issuer.New(t)
	n := startNode(t, keys)
	paths := map[string]string{
		"### `GET /discovery?documentName=NAME`": "/discovery?documentName=todo",
		"### `GET /usage`":                       "/usage",
		"### `GET /regions`":                     "/regions",
		"### `GET /health`, `GET /`":             "/health",
		"### Errors":                             "/nowhere",
	}
	for heading, path := range paths {
		_, rest, _ := strings.Cut(string(page), heading+"\n")
		_, rest, _ = strings.Cut(rest, "```json\n")
		shown, _, found := strings.Cut(rest, "```")
		if !found {
			t.Errorf("docs/protocol.md shows no answer of %s", path)
			continue
		}
		a := cluster.Get(t, n.HTTP()+path, keys.Token(nil))
		if want, got := fields(t, shown), fields(t, string(a.Body)); !slices.Equal(want, got) {
			t.Errorf("%s: documented %v, sent %v", path, want, got)
		}
	}
	if shown := strings.Count(string(page), "```json\n"); shown != len(paths) {
		t.Errorf("%d answers are shown, %d were compared", shown, len(paths))
	}
}
