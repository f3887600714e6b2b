package main

import (
	"strings"
	"testing"
)

func TestEventsStandUnderTheirHeader(t *testing.T) {
	var out strings.Builder
	cell := func(i int) func([]string) string { return func(row []string) string { return row[i] } }
	e := newEvents(&cli{out: &out, output: "table"}, []column[[]string]{{"NAME", false, cell(0)}, {"CODE", false, cell(1)}, {"REASON", false, cell(2)}})
	e.table.flush() // nothing has happened for a while
	for _, row := range [][]string{{"todo", "C1", "R1"}, {"a-long-name", "C2", "R2"}, {"todo", "C3", "R3 is long, and the last"}, {"a-longer-name", "C4", "R4"}} {
		if err := e.print(row); err != nil {
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
