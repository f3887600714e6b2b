package closecode_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/closecode/tables"
)

func TestDocumentsAndClientShowTheTable(t *testing.T) {
	for _, table := range tables.All {
		got, err := os.ReadFile(filepath.Join("../..", table.Path))
		if err != nil {
			t.Fatal(err)
		}
		want, err := table.Write(got)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s shows another table of close codes: go generate ./relay/closecode", table.Path)
		}
	}
}

func TestEachCodeStandsOnceAndStopsWhereYWebsocketStops(t *testing.T) {
	seen := map[int]bool{}
	for _, e := range closecode.Table {
		if seen[e.Code] {
			t.Errorf("%d stands twice", e.Code)
		}
		seen[e.Code] = true
		if e.Reason == "" || e.When == "" || e.Client == "" || e.Operator == "" || e.Action == "" {
			t.Errorf("%d: something is not said: %+v", e.Code, e)
		}
		if (e.Status == 0) != (e.Kind == "") {
			t.Errorf("%d: status %d and kind %q, expected both or none", e.Code, e.Status, e.Kind)
		}
		if closecode.Permanent(e.Code) && e.Action != closecode.Stop {
			t.Errorf("%d: y-websocket stops at it, the table says %s", e.Code, e.Action)
		}
	}
}

func TestUnknownCodes(t *testing.T) {
	for code, want := range map[int]closecode.Action{4450: closecode.Stop, 4999: closecode.Retry, 1011: closecode.Retry} {
		if got := closecode.Of(code).Action; got != want {
			t.Errorf("%d: %s, expected %s", code, got, want)
		}
	}
	for code, want := range map[int]bool{1000: false, 1012: true, 1013: true, 3999: false, 4000: true, 4999: true, 5000: false} {
		if got := closecode.Sendable(code); got != want {
			t.Errorf("an operator may send %d: %v, expected %v", code, got, want)
		}
	}
}
