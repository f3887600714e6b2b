// Package layout holds the product to its layout: imports go down only.
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wsnode/wsnode/"

// The layers below the packages that relay assembles.
var below = []string{"natsconn", "relay/wire", "relay/ystore", "relay/awareness", "docid", "relay/bus", "relay/history", "relay/closecode", "internal/pause"}

// mayImport says which of our packages each package may import. A package that
// is not listed belongs nowhere: find its place in the design first.
var mayImport = map[string][]string{
	"relay": append([]string{
		"authn", "kvpin", "relay/conn", "relay/session", "relay/mux", "relay/room", "relay/live", "relay/oplog", "relay/roster", "relay/quota", "relay/ratelimit", "relay/overload", "relay/control", "relay/docs", "relay/admin", "relay/apps", "relay/carry", "relay/carry/mark", "relay/version", "relay/storage", "natsconn",
	}, below...),
	"relay/session":    append([]string{"relay/conn"}, below...),
	"relay/conn":       nil,
	"relay/mux":        append([]string{"relay/conn", "relay/session"}, below...),
	"relay/carry/mark": {"docid"},
	"relay/carry":      append([]string{"relay/carry/mark", "relay/conn", "relay/session", "relay/roster"}, below...),
	// Of wire, ystore and awareness it knows nothing: that is the room's.
	"relay/live":    {"docid", "internal/pause", "kvpin", "relay/bus", "relay/history", "relay/oplog", "relay/room", "relay/roster", "relay/storage", "relay/ystore"},
	"relay/room":    append([]string{"relay/oplog"}, below...),
	"relay/quota":   {"docid", "kvpin", "natsconn"},
	"relay/control": below,
	"relay/docs":    {"docid", "kvpin", "relay/storage", "relay/ystore"},
	"relay/admin":   below,

	"authn": {"docid"},
	"kvpin": {"docid", "internal/pause", "kvpin/kv"},

	"kvpin/kv":        {"internal/pause", "natsconn"},
	"kvpin/kv/kvtest": {"internal/pause", "kvpin/kv"},
	"relay/roster":    nil,
	"relay/apps":      {"docid"},
	"relay/ratelimit": nil,
	"relay/overload":  nil,
	"relay/oplog":     {"relay/awareness"},
	"relay/version":   {"relay/oplog"},
	"relay/bus":       {"docid", "internal/pause", "natsconn"},
	"relay/history":   {"docid", "internal/pause", "natsconn"},
	"natsconn":        nil,
	"docid":           nil,
	"internal/pause":  nil,
	"relay/wire":      nil,
	"relay/closecode": nil,
	"relay/ystore":    nil,
	"relay/awareness": {"relay/wire"}, // for the numbers and strings of lib0
	"relay/storage":   {"docid", "internal/pause"},
	"relay/natsd":     nil, // imported by cmd and tests only
	// For the command and for tests of whoever embeds a node.
	"relay/devcluster": {"authn", "docid", "kvpin", "relay", "relay/bus", "relay/history", "relay/natsd"},

	"relay/closecode/tables":   {"relay/closecode"}, // for go generate only
	"relay/closecode/generate": {"relay/closecode/tables"},
	// Backends are imported by commands and tests only: each brings a library along.
	"relay/storage/file":        {"docid", "relay/storage"},
	"relay/storage/s3":          {"docid", "relay/storage"},
	"relay/storage/http":        {"docid", "internal/pause", "relay/storage"},
	"relay/storage/postgres":    {"docid", "relay/storage"},
	"relay/storage/open":        {"docid", "relay/storage", "relay/storage/file", "relay/storage/s3", "relay/storage/postgres", "relay/storage/http"},
	"relay/storage/storagetest": {"docid", "relay/storage"},

	// For commands and tests only.
	"clients/load": nil,
	// For commands and tests only: it looks at what a node would be made of.
	"relay/preflight": {
		"authn", "docid", "kvpin", "natsconn", "relay/bus", "relay/carry/mark", "relay/control", "relay/history", "relay/oplog", "relay/overload", "relay/storage",
	},
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// ours returns the product's packages by their path within the module; commands,
// tests and examples are not among them, as they may import anything.
func ours(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", module+"...")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(string(stdout))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, module)
		top, _, _ := strings.Cut(path, "/")
		if top != "cmd" && top != "test" && top != "examples" && len(p.GoFiles) > 0 {
			found[path] = p
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	for path, p := range ours(t) {
		allowed, known := mayImport[path]
		if !known {
			t.Errorf("%s has no place in the layout", path)
			continue
		}
		for _, imported := range p.Imports {
			inside, ok := strings.CutPrefix(imported, module)
			if ok && !slices.Contains(allowed, inside) {
				t.Errorf("%s imports %s; it may import %v", path, inside, allowed)
			}
		}
	}
}

// Packages cannot import each other in a circle, but folders of packages could: then neither
// could be understood, or taken elsewhere, without the other.
func TestNoFolderImportsItselfThroughAnother(t *testing.T) {
	packages := ours(t)
	for depth := 1; depth <= 2; depth++ {
		folder := func(path string) string {
			parts := strings.Split(path, "/")
			return strings.Join(parts[:min(depth, len(parts))], "/")
		}
		imports := map[string][]string{}
		for path, p := range packages {
			for _, imported := range p.Imports {
				if inside, ok := strings.CutPrefix(imported, module); ok && folder(inside) != folder(path) {
					imports[folder(path)] = append(imports[folder(path)], folder(inside))
				}
			}
		}
		for from := range imports {
			seen := map[string]bool{}
			for next := slices.Clone(imports[from]); len(next) > 0; {
				at := next[0]
				next = next[1:]
				if at == from {
					t.Errorf("%s imports itself through other folders", from)
					break
				}
				if !seen[at] {
					seen[at] = true
					next = append(next, imports[at]...)
				}
			}
		}
	}
}

func TestTheStoreIsPure(t *testing.T) {
	impure := []string{"context", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "time"}
	for _, imported := range ours(t)["relay/ystore"].Imports {
		if slices.Contains(impure, imported) {
			t.Errorf("relay/ystore imports %s: it does no I/O and knows no clock", imported)
		}
	}
}

// Who embeds a node brings a tracer provider of their own.
func TestOnlyTheCommandBringsTheTracingSDK(t *testing.T) {
	for path, p := range ours(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "go.opentelemetry.io/otel/sdk") || strings.HasPrefix(imported, "go.opentelemetry.io/otel/exporters") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// The maintainers of jwx/v2 have moved on, so a later major version must be a
// change of one file.
func TestOneFileOfAuthnKnowsTheTokenLibrary(t *testing.T) {
	const library = `"github.com/lestrrat-go/jwx/`
	var users []string
	for path, p := range ours(t) {
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(p.Dir + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(source), library) {
				users = append(users, path+"/"+file)
			}
		}
	}
	if len(users) != 1 || !strings.HasPrefix(users[0], "authn/") {
		t.Errorf("jwx is imported by %v, expected one file of authn", users)
	}
}

func TestTopLevelIsTheDesigns(t *testing.T) {
	expected := []string{
		"cmd", "relay", "kvpin", "authn", "docid", "natsconn", "internal", "test", "docs", "deploy", "examples", "clients",
		"README.md", "LICENSE", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Dockerfile", "compose.yaml",
		"Taskfile.yml", "go.mod", "go.sum", "tools.mod", "tools.sum",
		"wsnode", "wsctl", // what go build leaves
	}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(expected, name) {
			t.Errorf("%s does not belong to the top level", name)
		}
	}
}
