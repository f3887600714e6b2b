package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/perf/benchmath"
)

// comparison measures the benchmarks of two commits in turns.
type comparison struct {
	now, then                     *side
	rounds, again, layouts, count int
	enough                        time.Duration
	most                          float64
	benchtime, match              string
	rows                          map[string]*row // by package of this checkout and benchmark
}

// row is a benchmark, or one below it: what the rounds measured of both commits.
type row struct{ now, then []figure }

// turns is how often each commit measures in a round: in the order A B B A, so that a
// machine that gets slower is no one's fault.
const turns = 2

// run measures everything for some rounds, and then again what is not yet known to pass.
func (c *comparison) run() (passed bool, err error) {
	benchmarks, err := c.find()
	if err != nil {
		return false, err
	}
	names := slices.Sorted(maps.Keys(benchmarks))
	for again := range c.again + 1 {
		for _, name := range names {
			if again > 0 && !c.open(name) {
				continue
			}
			fmt.Fprintln(os.Stderr, name)
			if err := c.measure(name); err != nil {
				return false, err
			}
		}
	}
	return c.table(), nil
}

// leastRounds is how many rounds a benchmark gets that takes long.
const leastRounds = 8

// mostLost is how many of them may fail, as those that wait for servers of a busy machine do.
const mostLost = 2

func (c *comparison) measure(benchmark string) error {
	begin, lost := time.Now(), 0
	for round := range c.rounds {
		if round >= leastRounds && time.Since(begin) > c.enough {
			break
		}
		if err := c.round(benchmark, round); err != nil {
			if lost++; lost > mostLost {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s: a round is lost: %v\n", benchmark, err)
		}
	}
	return nil
}

// find returns the benchmarks, by package of this checkout and function, that both commits
// have: it runs each once.
func (c *comparison) find() (benchmarks map[string]bool, err error) {
	benchmarks = map[string]bool{}
	functions, _, _ := strings.Cut(c.match, "/")
	for pkg := range packages {
		flags := []string{c.narrow(pkg, functions), "-test.benchtime=1x"}
		then, err := c.then.measure(pkg, 0, flags...)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is not compared: %v\n", pkg, err)
			continue
		}
		now, err := c.now.measure(pkg, 0, flags...)
		if err != nil {
			return nil, err
		}
		for name := range now {
			if _, ok := then[name]; ok {
				benchmarks[function(name)] = true
			}
		}
	}
	return benchmarks, nil
}

// function is the part of a row's name before the benchmarks below it. The package's name
// ends with the first space.
func function(row string) string {
	pkg, name, _ := strings.Cut(row, " ")
	name, _, _ = strings.Cut(name, "/")
	return pkg + " " + name
}

// round measures a benchmark of both commits, and keeps the least of each: what else the
// machine does only adds to what the code takes. Which commit goes first alternates.
func (c *comparison) round(benchmark string, n int) error {
	pkg, name, _ := strings.Cut(benchmark, " ")
	flags := []string{c.narrow(pkg, "^Benchmark"+name+"$"), "-test.benchtime=" + c.benchtime, fmt.Sprint("-test.count=", c.count)}
	layout := n%max(1, c.layouts) + 1
	got := [2]map[string]figure{{}, {}}
	for turn := range 2 * turns {
		which := (n + (turn+1)/2) % 2
		figures, err := []*side{c.then, c.now}[which].measure(pkg, layout, flags...)
		if err != nil {
			return err
		}
		for name, f := range figures {
			keepLeast(got[which], name, f)
		}
	}
	for name, now := range got[1] {
		then, ok := got[0][name]
		if !ok {
			continue
		}
		if c.rows[name] == nil {
			c.rows[name] = &row{}
		}
		r := c.rows[name]
		r.then, r.now = append(r.then, then), append(r.now, now)
	}
	return nil
}

// open reports whether a row of the benchmark may be above what passes.
func (c *comparison) open(benchmark string) bool {
	for name, r := range c.rows {
		if function(name) == benchmark && (r.interval().Hi > c.most || r.ratio() > c.most) {
			return true
		}
	}
	return false
}

func seconds(f figure) float64     { return f.seconds }
func allocations(f figure) float64 { return f.allocations }

func sample(figures []figure, of func(figure) float64) *benchmath.Sample {
	var values []float64
	for _, f := range figures {
		values = append(values, of(f))
	}
	return benchmath.NewSample(values, &benchmath.DefaultThresholds)
}

func median(figures []figure, of func(figure) float64) float64 {
	return benchmath.AssumeNothing.Summary(sample(figures, of), 0.95).Center
}

func (r *row) ratio() float64 { return median(r.now, seconds) / median(r.then, seconds) }

// interval is that of the median of the rounds' ratios. The two times of a round are
// moments apart, so a machine that is slower for a while changes both.
func (r *row) interval() benchmath.Summary {
	var ratios []float64
	for i := range r.now {
		ratios = append(ratios, r.now[i].seconds/r.then[i].seconds)
	}
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(ratios, &benchmath.DefaultThresholds), 0.95)
}

// verdict is empty for a row that passes.
func (r *row) verdict(most float64) string {
	interval := r.interval()
	var verdicts []string
	switch {
	case r.ratio() > most && interval.Lo > most:
		verdicts = append(verdicts, "worse")
	case r.ratio() > most || interval.Hi > most:
		verdicts = append(verdicts, "unresolved")
	}
	if slices.Min(sample(r.now, allocations).Values) > median(r.then, allocations) {
		verdicts = append(verdicts, "allocates more")
	}
	return strings.Join(verdicts, ", ")
}

// table prints what both measured, and reports whether nothing is worse.
func (c *comparison) table() (passed bool) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "benchmark\tthen\tnow\tratio\t95 %\trounds\tallocations\t")
	passed = len(c.rows) > 0
	for _, name := range slices.Sorted(maps.Keys(c.rows)) {
		r := c.rows[name]
		interval, verdict := r.interval(), r.verdict(c.most)
		passed = passed && (verdict == "" || verdict == "unresolved")
		fmt.Fprintf(w, "%s\t%.4g µs\t%.4g µs\t%.3f\t%.3f–%.3f\t%d\t%.0f → %.0f\t%s\n",
			name, median(r.then, seconds)*1e6, median(r.now, seconds)*1e6, r.ratio(), interval.Lo, interval.Hi,
			len(r.now), median(r.then, allocations), median(r.now, allocations), verdict)
	}
	return passed
}
