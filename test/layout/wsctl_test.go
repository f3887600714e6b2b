package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const wsctl = module + "cmd/wsctl/"

// wsctlMayImport says which packages of wsctl each of them may import: those that all
// commands stand on, then one for each noun. The command itself may import all.
var wsctlMayImport = map[string][]string{
	"exit":               nil,
	"console":            {"exit"},
	"reach":              {"exit"},
	"command":            {"exit", "console", "reach"},
	"web":                {"exit"},
	"token":              {"exit", "console", "command", "web"},
	"foreign/sqlitefile": nil,
	"foreign":            {"console", "foreign/sqlitefile"},

	"bench":    {"exit", "console", "command", "token", "web"},
	"check":    {"exit", "console", "reach", "command", "web"},
	"discover": {"exit", "console", "reach", "command", "token", "web"},
	"docs":     {"exit", "console", "reach", "command", "pins", "sessions"},
	"nodes":    {"exit", "console", "reach", "command"},
	"pins":     {"exit", "console", "reach", "command"},
	"regions":  {"exit", "console", "reach", "command"},
	"sessions": {"exit", "console", "reach", "command"},
	"setup":    {"exit", "console", "reach", "command", "check"},
	"store":    {"exit", "console", "reach", "command", "pins", "foreign"},
	"top":      {"exit", "console", "reach", "command"},
	"trace":    {"exit", "console", "reach", "command", "token"},
}

func TestTheNounsOfWsctlKnowEachOtherOnlyWhereTheyMust(t *testing.T) {
	list, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, wsctl+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		name, inside := strings.CutPrefix(words[0], wsctl)
		if !inside {
			continue // the command
		}
		allowed, known := wsctlMayImport[name]
		if !known {
			t.Errorf("cmd/wsctl/%s has no place in the layout", name)
		}
		for _, imported := range words[1:] {
			if other, ok := strings.CutPrefix(imported, wsctl); ok && known && !slices.Contains(allowed, other) {
				t.Errorf("cmd/wsctl/%s imports %s; it may import %v", name, other, allowed)
			}
		}
	}
}

// maxMethods is how many a type of wsctl may have: one that was given to all commands, and
// whose methods they all were, had 129.
const maxMethods = 20

func TestTypesOfWsctlCanBeHeldInTheHead(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "--cached", "--others", "--exclude-standard", "cmd/wsctl/*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]int{}
	for _, name := range strings.Fields(string(list)) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), "../../"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			of := f.Recv.List[0].Type
			if pointer, ok := of.(*ast.StarExpr); ok {
				of = pointer.X
			}
			if generic, ok := of.(*ast.IndexExpr); ok {
				of = generic.X
			}
			if id, ok := of.(*ast.Ident); ok {
				methods[path.Dir(name)+"."+id.Name]++
			}
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods, more than %d", name, n, maxMethods)
		}
	}
}
