package wsctl

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/wait"
)

// figure is a number with its unit beside it: in tables and JSON the unit stands
// in the column's header and the field's name.
var figure = regexp.MustCompile(`(?:^|[\s"])\d[\d.]* ?(?:[KMG]i?B|B|[mµn]s|%|/s)(?:["\s]|$)`)

func TestFiguresArePlainNumbersWithTheirUnitsInHeadersAndNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.eu1, "todo", strings.Repeat("milk ", 1000))
	w.join(w.eu2, "todo", "")
	for _, c := range []struct {
		command          string
		headers, members []string // that name a unit
	}{
		{"sessions list", []string{"KIB IN", "KIB OUT", "QUEUE KIB", "RTT MS"}, []string{"bytesIn", "bytesOut", "queuedBytes", "rttMs"}},
		{"docs list", []string{"SIZE KIB", "EDITS/S", "UNACKED KIB"}, []string{"bytes", "editsPerSecond", "unackedBytes"}},
		{"nodes list", []string{"MEMORY MIB", "LOAD %"}, []string{"memoryBytes", "loadRatio"}},
		{"top --once --interval 200ms", []string{"EDITS/S", "FRAMES IN/S", "FRAMES OUT/S", "KIB OUT/S", "REFUSED/S", "MEMORY MIB", "SIZE KIB", "UNACKED KIB"},
			[]string{"editsInPerSecond", "bytesOutPerSecond", "memoryBytes", "editsPerSecond", "unackedBytes"}},
		{"discover todo --token-file token.jwt", []string{"TOOK MS"}, []string{"tookMs"}},
		{"docs get acme/notes/todo", []string{"SIZE KIB", "EDITS/S"}, []string{"bytes", "historyMessages"}},
		{"pins list", nil, []string{"revision"}},
	} {
		table := w.ctl(append(strings.Fields(c.command), "-o", "wide")...).must().out
		for _, header := range c.headers {
			if !strings.Contains(table, header) {
				t.Errorf("%s: no column %s:\n%s", c.command, header, table)
			}
		}
		if i := strings.Index(table, "NODE"); i >= 0 { // top has a sentence before its tables
			if found := figure.FindString(table[i:]); found != "" {
				t.Errorf("%s: %q in a cell:\n%s", c.command, found, table)
			}
		}
		text := w.ctl(append(strings.Fields(c.command), "-o", "json")...).must().out
		for _, member := range c.members {
			if !regexp.MustCompile(`"` + member + `":-?\d`).MatchString(text) {
				t.Errorf("%s: no number %s in %s", c.command, member, text)
			}
		}
		if found := figure.FindString(text); found != "" {
			t.Errorf("%s: %s in %s", c.command, found, text)
		}
	}
}

func TestListingsAreRepeatedWhenWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.eu1, "todo", "milk")
	cluster.Shake(t, w.eu1.Addr, "/todo", nil)
	for _, noun := range []string{"pins", "sessions", "docs", "nodes", "regions", "refusals"} {
		p := w.watch(noun, "list", "--watch", "--interval", "100ms", "-o", "json")
		wait.Until(t, noun+" are listed three times", func() bool { return strings.Count(p.Output(), "\n]\n") >= 3 })
		w.ctl(noun, "list", "-w", "--interval", "1ms").exits(2).says("--interval")
	}
}

func TestBenchLoadsNodesAndLooksForEveryEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fanout := []string{"bench", "fanout", "--url", w.eu1.WS(), "--url", w.eu2.WS(), "--docs", "2", "--clients", "3", "--rate", "60", "--warmup", "0s", "--duration", "1s"}
	var results []load.Result
	w.ctl(append(fanout, "--token-file", "token.jwt", "-q", "-o", "json")...).json(&results)
	if len(results) != 1 || results[0].Scenario != "fanout" || results[0].Faults.Any() || len(results[0].Values) == 0 ||
		!slices.ContainsFunc(results[0].Values, func(v load.Value) bool { return v.Unit == "ms" && v.Value > 0 }) {
		t.Errorf("%+v", results)
	}
	var joins []load.Result
	w.ctl("bench", "join", "--url", w.eu1.WS(), "--edits", "300", "--token-file", "token.jwt", "-q", "-o", "json").json(&joins)
	if len(joins) != 3 || slices.ContainsFunc(joins, func(r load.Result) bool { return r.Faults.Any() || len(r.Values) == 0 }) {
		t.Errorf("%+v", joins)
	}
	w.ctl("bench", "nothing", "--token-file", "token.jwt").exits(2).says("no scenario")
	w.ctl("bench", "--clients", "1").exits(2)
	if r := w.ctl(append(fanout, "--token", w.token+"x", "-q")...); r.code != 1 || json.Valid([]byte(r.out)) && r.out != "" {
		t.Errorf("clients that are refused: exit code %d\n%s%s", r.code, r.out, r.err)
	}
}
