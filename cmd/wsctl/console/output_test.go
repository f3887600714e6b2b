package console

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
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

func TestRowsAppearWhileOthersAreAwaited(t *testing.T) {
	r, w := io.Pipe()
	var printing sync.WaitGroup
	more := make(chan struct{})
	printing.Go(func() {
		c := &Console{Out: w, Format: "table"}
		columns := []Column[string]{Shown("NAME", func(s string) string { return s })}
		err := PrintRows(c, columns, func(yield func(string, error) bool) {
			yield("first", nil)
			<-more
			yield("second", nil)
		})
		w.CloseWithError(err)
	})
	read := func(until string) {
		t.Helper()
		var text strings.Builder
		for p := make([]byte, 64); !strings.Contains(text.String(), until); {
			n, err := r.Read(p)
			if err != nil {
				t.Fatalf("%q: %v", text.String(), err)
			}
			text.Write(p[:n])
		}
	}
	read("first\n") // although the listing goes on
	close(more)
	read("second\n")
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
	printing.Wait()
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
