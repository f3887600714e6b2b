package console

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

func TestEventsStandUnderTheirHeader(t *testing.T) {
	var out strings.Builder
	cell := func(i int) func([]string) string { return func(row []string) string { return row[i] } }
	e := NewEvents(&Console{Out: &out, Format: "table"}, []Column[[]string]{Shown("NAME", cell(0)), Shown("CODE", cell(1)), Shown("REASON", cell(2))})
	e.table.flush() // nothing has happened for a while
	for _, row := range [][]string{{"todo", "C1", "R1"}, {"a-long-name", "C2", "R2"}, {"todo", "C3", "R3 is long, and the last"}, {"a-longer-name", "C4", "R4"}} {
		if err := e.Print(row); err != nil {
			t.Fatal(err)
		}
	}
	var code, reason int
	headers := 0
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "NAME") {
			headers++
			code, reason = strings.Index(line, "CODE"), strings.Index(line, "REASON")
		} else if strings.Index(line, "C") != code || strings.Index(line, "R") != reason {
			t.Errorf("not under its header: %s", line)
		}
	}
	if headers != 3 {
		t.Errorf("%d headers", headers)
	}
	if t.Failed() {
		t.Log("\n" + out.String())
	}
}

// A document's name, a client's user agent and a failure come from others: nothing of
// them may turn the terminal's text around or move its cursor.
func TestNothingThatSteersATerminalIsPrintedAsJSON(t *testing.T) {
	const name = "a\u202eb\u2066c\u009bd\u200fe\U000e0001f\u00e9\u65e5\n"
	var b strings.Builder
	if err := WriteJSON(&b, "[\n ", map[string]string{"name": name}, "\n]\n"); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U is printed", r)
		}
	}
	var got []map[string]string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got[0]["name"] != name {
		t.Errorf("%q, %v", got, err)
	}
}
