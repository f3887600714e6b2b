package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	// What GitHub leaves out of a heading when it makes an anchor of it.
	notOfAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names under which the headings of a page are linked.
func anchors(page string) (names []string) {
	for _, h := range heading.FindAllStringSubmatch(code.ReplaceAllString(page, ""), -1) {
		name := notOfAnchors.ReplaceAllString(strings.ToLower(h[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := strings.Fields(string(list))
	if !slices.Contains(pages, "README.md") || !slices.Contains(pages, "docs/README.md") {
		t.Fatalf("only %v were found", pages)
	}
	for _, page := range pages {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(l[1], "://") || strings.HasPrefix(l[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l[1], "#")
			target := "../../" + page
			if file != "" {
				target = filepath.Join("../..", filepath.Dir(page), file)
			}
			linked, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() && anchor == "" {
				continue
			}
			if err != nil || anchor != "" && !slices.Contains(anchors(string(linked)), anchor) {
				t.Errorf("%s links to %s, which is not there", page, l[1])
			}
		}
	}
}

func TestTheGoCodeOfTheREADMEIsTheExamplesThatRuns(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../relay/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("the README shows no Go code")
	}
	for _, block := range blocks {
		shown, _, _ := strings.Cut(block, "```")
		for line := range strings.Lines(shown) {
			if !strings.Contains(string(example), "\n\t"+line) {
				t.Errorf("relay/example_test.go does not have this line: %s", line)
			}
		}
	}
}

// Whoever embeds a node reads the example at one look.
func TestTheExampleOfEmbeddingIsShort(t *testing.T) {
	const most = 20 // lines of its body
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "../../relay/example_test.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "ExampleStart" {
			if lines := files.Position(f.Body.Rbrace).Line - files.Position(f.Body.Lbrace).Line - 1; lines > most {
				t.Errorf("ExampleStart has %d lines, more than %d", lines, most)
			}
			return
		}
	}
	t.Error("there is no ExampleStart")
}

func TestTheIndexOfDocumentsNamesEachOfThem(t *testing.T) {
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 2 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md does not link to %s", name)
		}
	}
}
