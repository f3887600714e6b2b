// Command bench compares the Go benchmarks of this checkout with those of another commit,
// in alternating rounds on the same machine: figures of two days say little about the
// code.
//
//	go run ./test/bench -with COMMIT
//
// A benchmark is compared where both commits have one of its name in a package of the same
// name, or in the one that took its place. The table says the ratio of the medians of the
// time, and the allocations of both. Exit code 1 if a time is above -most times the
// other's, or anything allocates more often.
//
//	go run ./test/bench -with COMMIT -record allocations.txt
//
// writes down how often the benchmarks of that commit allocate, for the test of this
// package.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

func main() {
	with := flag.String("with", "", "commit to compare with")
	rounds := flag.Int("rounds", 7, "rounds, in which each commit measures once")
	most := flag.Float64("most", 1.03, "the highest ratio of the medians that passes")
	benchtime := flag.String("benchtime", "0.2s", "as of go test")
	match := flag.String("bench", ".", "as of go test")
	record := flag.String("record", "", "write the allocations of the commit into this file, and compare nothing")
	flag.Parse()
	if *with == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: bench -with COMMIT [flags]")
		os.Exit(2)
	}
	var passed bool
	err := beside(*with, func(now, then *side) (err error) {
		if *record != "" {
			passed = true
			return recordAllocations(*record, *with, then)
		}
		passed, err = compare(now, then, *rounds, *most, "-test.benchtime="+*benchtime, "-test.bench="+*match)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}

// beside has both commits at hand for the time of f.
func beside(with string, f func(now, then *side) error) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wsnode-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	former := filepath.Join(dir, "former")
	if err := run(here, "git", "worktree", "add", "--detach", former, with); err != nil {
		return err
	}
	defer func() { _ = run(here, "git", "worktree", "remove", "--force", former) }() // it is a temporary folder
	if err := shareCorpora(former); err != nil {
		return err
	}
	corpora := filepath.Join(here, "test", "corpus", "data")
	return f(newSide(here, filepath.Join(dir, "now"), corpora), newSide(former, filepath.Join(dir, "then"), corpora))
}

// compare goes through the rounds one by one, so that what else the machine does in some
// minutes meets all packages and both commits.
func compare(now, then *side, rounds int, most float64, flags ...string) (passed bool, err error) {
	lost := map[string]bool{}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		for _, pkg := range slices.Sorted(maps.Keys(packages)) {
			if lost[pkg] {
				continue
			}
			if err := then.measure(pkg, cmp.Or(packages[pkg], pkg), flags); err != nil {
				fmt.Fprintf(os.Stderr, "%s is not compared: %v\n", pkg, err)
				lost[pkg] = true
				continue
			}
			if err := now.measure(pkg, pkg, append(slices.Clone(flags), then.only(pkg)...)); err != nil {
				return false, err
			}
		}
	}
	return table(now.got, then.got, most), nil
}

// table prints what both measured, and reports whether nothing is worse.
func table(now, then map[string]*figures, most float64) (passed bool) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "benchmark\tthen\tnow\tratio\tallocations\t")
	var names []string
	for name := range now {
		if then[name] != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	passed = len(names) > 0
	for _, name := range names {
		before, after := median(then[name].seconds), median(now[name].seconds)
		allocated, allocates := median(then[name].allocations), median(now[name].allocations)
		verdict := ""
		if after > most*before || allocates > allocated {
			verdict, passed = "worse", false
		}
		fmt.Fprintf(w, "%s\t%.4g µs\t%.4g µs\t%.3f\t%.0f → %.0f\t%s\n", name, before*1e6, after*1e6, after/before, allocated, allocates, verdict)
	}
	return passed
}

// median sorts the values.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
