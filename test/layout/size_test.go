package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What can be held in the head: CONTRIBUTING.md.
const (
	maxFunctionLines = 70
	maxFileLines     = 500
)

func TestFunctionsAndFilesOfTheProductAreShort(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "test/") {
			continue
		}
		source, err := os.ReadFile("../../" + name)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(source, []byte("\n")); lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: it tells more than one story", name, lines, maxFileLines)
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", name, f.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}
