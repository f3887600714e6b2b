// Package tables writes the table of close codes into the files that show it. It
// is for go generate and its test; the product does not import it.
package tables

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wsnode/wsnode/relay/closecode"
)

// Table is a table in a file, between a line that holds Begin and one that holds
// End.
type Table struct {
	Path       string // from the root of the repository
	Begin, End string
	rows       func() string
}

// All are the tables of the repository.
var All = []Table{
	{"docs/protocol.md", markdownBegin, markdownEnd, protocol},
	{"docs/operations.md", markdownBegin, markdownEnd, operations},
	{"clients/js/src/codes.js", "/* begin codes */", "/* end codes */", script},
}

const (
	markdownBegin = "<!-- close codes: go generate ./relay/closecode -->"
	markdownEnd   = "<!-- end of close codes -->"
)

// Write returns the file with the table as it should be.
func (t Table) Write(file []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(file, []byte(t.Begin+"\n"))
	_, after, closed := bytes.Cut(rest, []byte(t.End))
	if !found || !closed {
		return nil, fmt.Errorf("%s: expected a line %q and later %q", t.Path, t.Begin, t.End)
	}
	return []byte(string(before) + t.Begin + "\n" + t.rows() + t.End + string(after)), nil
}

func protocol() string {
	var b strings.Builder
	b.WriteString("| code | reason | when | HTTP | a client |\n| --- | --- | --- | --- | --- |\n")
	for _, e := range closecode.Table {
		status := ""
		if e.Status != 0 {
			status = fmt.Sprintf("%d `%s`", e.Status, e.Kind)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", e.Code, e.Reason, e.When, status, e.Client)
	}
	return b.String()
}

func operations() string {
	var b strings.Builder
	b.WriteString("| code | what to look at |\n| --- | --- |\n")
	for _, e := range closecode.Table {
		fmt.Fprintf(&b, "| %d | %s |\n", e.Code, e.Operator)
	}
	return b.String()
}

func script() string {
	var b strings.Builder
	for _, e := range closecode.Table {
		line, err := json.Marshal([]any{e.Code, e.Action, e.Wait})
		if err != nil {
			panic(err) // plain strings and numbers
		}
		fmt.Fprintf(&b, "  %s,\n", strings.ReplaceAll(strings.ReplaceAll(string(line), ",", ", "), `"`, "'"))
	}
	return strings.TrimSuffix(b.String(), ",\n") + "\n"
}
