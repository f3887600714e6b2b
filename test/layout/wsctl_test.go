package layout

import (
	"os/exec"
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
	"foreign":            {"exit", "console", "foreign/sqlitefile"},

	"bench":    {"exit", "console", "command", "token", "web"},
	"check":    {"exit", "console", "reach", "command", "web"},
	"discover": {"exit", "console", "reach", "command", "token", "web"},
	"docs":     {"exit", "console", "reach", "command", "foreign", "pins", "sessions"},
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
