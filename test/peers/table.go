package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row of the comparison is one figure of one scenario.
type row struct {
	title, scenario, value string
	target                 string // for wsnode
	precision              int
	most                   bool // more is better
}

const perThousand = "CPU per 1,000 deliveries"

// rows are those of the table; the names of scenarios and values are theirs.
var rows = []row{
	{title: "20 docs × 10 clients, 18 k deliveries/s: CPU ms per 1,000 deliveries", scenario: "fanout-18k", value: perThousand, target: "≤ 16, two nodes ≤ 26", precision: 1},
	{title: "one doc × 200 clients, 20 k/s: CPU ms per 1,000", scenario: "hot-20k", value: perThousand, target: "≤ 10, two nodes ≤ 12", precision: 1},
	{title: "20 docs × 10 clients, 3.6 k/s: CPU ms per 1,000", scenario: "fanout-3.6k", value: perThousand, target: "≤ 27, two nodes ≤ 45", precision: 1},
	{title: "edit latency at 18 k/s, p50 ms, same node", scenario: "fanout-18k", value: "latency p50", target: "≤ 0.35", precision: 2},
	{title: "edit latency at 18 k/s, p99 ms, same node", scenario: "fanout-18k", value: "latency p99", precision: 2},
	{title: "edit latency at 18 k/s, p50 ms, across nodes", scenario: "fanout-18k", value: "latency across nodes p50", target: "≤ 1", precision: 2},
	{title: "edit latency, hot document, p50 ms, same node", scenario: "hot-20k", value: "latency p50", precision: 2},
	{title: "most deliveries/s with p99 < 250 ms and no loss, one doc × 200", scenario: "saturation-hot", value: "most deliveries", target: "≥ 600,000", most: true},
	{title: "the same, 20 docs × 10 clients", scenario: "saturation-fanout", value: "most deliveries", most: true},
	{title: "idle connections, KiB of RSS each, 1 per doc", scenario: "idle-1", value: "RSS per connection", target: "≤ 14", precision: 1},
	{title: "idle connections, KiB of RSS each, 10 per doc", scenario: "idle-10", value: "RSS per connection", target: "≤ 12", precision: 1},
	{title: "CPU ms per connect, 1 per doc", scenario: "idle-1", value: "CPU per connect", target: "≤ 0.3", precision: 2},
	{title: "CPU ms per connect, 10 per doc", scenario: "idle-10", value: "CPU per connect", target: "≤ 0.2", precision: 2},
	{title: "cold join of a 100,000-edit document: p50 ms", scenario: "join, cold", value: "from dial to synced p50", target: "≤ 1", precision: 2},
	{title: "cold join: CPU ms", scenario: "join, cold", value: "CPU per join", target: "≤ 0.5", precision: 2},
	{title: "cold join: bytes", scenario: "join, cold", value: "SyncStep2", target: "fewer"},
	{title: "the same again, encoding still valid: CPU ms", scenario: "join, cached", value: "CPU per join", precision: 2},
	{title: "warm join: CPU ms", scenario: "join, warm", value: "CPU per join", target: "≤ 0.3", precision: 2},
	{title: "cold join, spaced: p50 ms", scenario: "join, cold, spaced", value: "from dial to synced p50", precision: 2},
	{title: "cold join, spaced: CPU ms", scenario: "join, cold, spaced", value: "CPU per join", precision: 2},
	{title: "warm join, spaced: CPU ms", scenario: "join, warm, spaced", value: "CPU per join", precision: 2},
	{title: "2,000 clients reconnect at once: ms until all are synced", scenario: "storm-2k", value: "all synced", target: "≤ 600"},
	{title: "awareness, 200/s sent: CPU ms per 1,000 deliveries", scenario: "awareness", value: perThousand, target: "≤ 30", precision: 1},
}

// spread is the median and range of a figure over the rounds.
func spread(records []record, r row, contender string) (median, low, high float64, ok bool) {
	var values []float64
	for _, record := range records {
		if record.Scenario == r.scenario && record.Target == contender {
			if v, ok := record.Value(r.value); ok {
				values = append(values, v)
			}
		}
	}
	if len(values) == 0 {
		return 0, 0, 0, false
	}
	slices.Sort(values)
	median = values[len(values)/2]
	if len(values)%2 == 0 {
		median = (median + values[len(values)/2-1]) / 2
	}
	return median, values[0], values[len(values)-1], true
}

// number writes a figure with the row's precision and thousands apart.
func (r row) number(v float64) string {
	s := fmt.Sprintf("%.*f", r.precision, v)
	if r.precision > 0 {
		return s
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// writeTable writes the comparison as a Markdown table.
func writeTable(w io.Writer, records []record) error {
	fmt.Fprint(w, "| scenario | target |")
	for _, c := range contenders {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprint(w, "\n| --- | --- |", strings.Repeat(" ---: |", len(contenders)), "\n")
	for _, r := range rows {
		line := fmt.Sprintf("| %s | %s |", r.title, r.target)
		some := false
		for _, c := range contenders {
			median, low, high, ok := spread(records, r, c.name)
			some = some || ok
			switch {
			case !ok:
				line += " |"
			case low == high:
				line += fmt.Sprintf(" %s |", r.number(median))
			default:
				line += fmt.Sprintf(" **%s** (%s–%s) |", r.number(median), r.number(low), r.number(high))
			}
		}
		if some {
			fmt.Fprintln(w, line)
		}
	}
	for _, record := range records {
		if record.Faults.Any() {
			fmt.Fprintf(w, "\nFaults in %s, %s, round %d: %s\n", record.Scenario, record.Target, record.Round, record.Faults)
		}
		if len(record.Values) == 0 {
			fmt.Fprintf(w, "\nFailed: %s, %s, round %d: %s\n", record.Scenario, record.Target, record.Round, strings.Join(record.Notes, "; "))
		}
	}
	return nil
}

// The table stands between these lines; the rest of the file is written by hand.
const (
	beginMark = "<!-- begin: written by task bench:peers -->"
	endMark   = "<!-- end: written by task bench:peers -->"
)

// writeMarkdown puts the comparison, with machine and versions, between the marks of a file.
func writeMarkdown(path string, records []record, versions []string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), beginMark)
	_, after, closed := strings.Cut(rest, endMark)
	if !ok || !closed {
		return fmt.Errorf("%s: lacks the lines %q and %q", path, beginMark, endMark)
	}
	rounds := 0
	for _, r := range records {
		rounds = max(rounds, r.Round)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n\n", before, beginMark)
	fmt.Fprintf(&b, "%s; %s. ", time.Now().UTC().Format("2 January 2006"), machine())
	fmt.Fprintf(&b, "%s. Medians of up to %d rounds in alternating order, ranges in brackets; without a range, of one round.\n\n", strings.Join(versions, "; "), rounds)
	if err := writeTable(&b, records); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n%s%s", endMark, after)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// machine says what the run was made on.
func machine() string {
	model, cores := runtime.GOARCH, runtime.NumCPU()
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cores = max(cores, strings.Count(string(data), "model name")) // this program is pinned to one
		if _, rest, ok := strings.Cut(string(data), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	kernel := ""
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = ", Linux " + strings.TrimSpace(string(data))
	}
	return fmt.Sprintf("%s, %d cores%s", model, cores, kernel)
}
