package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhatIsTestedWithoutTheRaceDetectorStartsNoGoroutine: the task unit tests some
// packages without it, which must remain what they are.
func TestWhatIsTestedWithoutTheRaceDetectorStartsNoGoroutine(t *testing.T) {
	const top = "../../"
	tasks, err := os.ReadFile(top + "Taskfile.yml")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`\n *ALONE: (.*)\n`).FindSubmatch(tasks)
	if line == nil {
		t.Fatal("Taskfile.yml does not say which packages are tested without the race detector")
	}
	for folder := range strings.FieldsSeq(string(line[1])) {
		files, err := filepath.Glob(top + folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no Go files: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if at := goroutine(t, file); at != "" {
				t.Errorf("%s starts a goroutine: test %s with the race detector", at, folder)
			}
		}
	}
}

// goroutine returns where a file starts a goroutine, with go or the Go method of a
// group; empty if nowhere.
func goroutine(t *testing.T, file string) (at string) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			at = files.Position(n.Pos()).String()
		case *ast.SelectorExpr:
			if n.Sel.Name == "Go" {
				at = files.Position(n.Pos()).String()
			}
		}
		return true
	})
	return at
}
