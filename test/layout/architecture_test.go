package layout

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hop is a row of the way of an edit in docs/architecture.md, and the methods that it names.
var hop = regexp.MustCompile("(?m)^\\| \\d \\| `(\\w+\\.\\w+\\.\\w+)` .* \\| `(\\w+\\.\\w+\\.\\w+)` .* \\|$")

func TestTheHopsOfAnEditAreThoseOfTheArchitecture(t *testing.T) {
	rows := hop.FindAllStringSubmatch(architecture(t), -1)
	if len(rows) != 6 {
		t.Errorf("an edit passes %d hops on each side of NATS, expected 6", len(rows))
	}
	methods := methodsOfTheProduct(t)
	for _, row := range rows {
		for _, method := range row[1:] {
			if !slices.Contains(methods, "relay/"+method) {
				t.Errorf("docs/architecture.md names %s, which is no method", method)
			}
		}
	}
}

func architecture(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

var (
	folders = regexp.MustCompile("(?m)^\\| (`[a-z/]+`(?:, `[a-z/]+`)*) \\|")
	folder  = regexp.MustCompile("`([a-z/]+)`")
)

// rowOf returns the row of the architecture's table that has a package, or the nearest of the
// folders that it lies in; ok is false if none has.
func rowOf(rows [][]string, path string) (row int, ok bool) {
	for folder, inside := path, true; inside; {
		for i, folders := range rows {
			if slices.Contains(folders, folder) {
				return i, true
			}
		}
		at := strings.LastIndex(folder, "/")
		if inside = at > 0; inside {
			folder = folder[:at]
		}
	}
	return 0, false
}

func TestImportsGoDownTheTableOfTheArchitecture(t *testing.T) {
	var rows [][]string
	for _, row := range folders.FindAllStringSubmatch(architecture(t), -1) {
		var names []string
		for _, name := range folder.FindAllStringSubmatch(row[1], -1) {
			names = append(names, name[1])
		}
		rows = append(rows, names)
	}
	if len(rows) < 10 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for path, p := range ours(t) {
		row, ok := rowOf(rows, path)
		if !ok && !strings.HasPrefix(path, "internal/") {
			t.Errorf("%s has no row", path)
			continue
		}
		for _, imported := range p.Imports {
			inside, ok := strings.CutPrefix(imported, module)
			if lower, has := rowOf(rows, inside); ok && has && lower < row {
				t.Errorf("%s imports %s, whose row is above its own", path, inside)
			}
		}
	}
}
