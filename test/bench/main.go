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
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/perf/benchfmt"
)

// packages are those whose benchmarks are compared: of this checkout, and what they were
// in the former commit if that is another name. The registry's have a task of their own.
var packages = map[string]string{
	"authn": "", "relay": "", "relay/bus": "", "relay/history": "", "relay/ystore": "",
	"relay/quota": "relay/limits", "relay/ratelimit": "relay/limits",
}

// figures are what one benchmark measured, round by round.
type figures struct{ seconds, allocations []float64 }

// side is one of the two commits.
type side struct {
	root string
	got  map[string]*figures // by package of this checkout and benchmark
}

func main() {
	with := flag.String("with", "", "commit to compare with")
	rounds := flag.Int("rounds", 7, "rounds, in which each commit measures once")
	most := flag.Float64("most", 1.03, "the highest ratio of the medians that passes")
	benchtime := flag.String("benchtime", "0.2s", "as of go test")
	match := flag.String("bench", ".", "as of go test")
	flag.Parse()
	if *with == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: bench -with COMMIT [flags]")
		os.Exit(2)
	}
	passed, err := compare(*with, *rounds, *most, "-test.benchtime="+*benchtime, "-test.bench="+*match)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}

func compare(with string, rounds int, most float64, flags ...string) (passed bool, err error) {
	here, err := os.Getwd()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "wsnode-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	former := filepath.Join(dir, "former")
	if err := run(here, "git", "worktree", "add", "--detach", former, with); err != nil {
		return false, err
	}
	defer func() { _ = run(here, "git", "worktree", "remove", "--force", former) }() // it is a temporary folder
	now, then := &side{here, map[string]*figures{}}, &side{former, map[string]*figures{}}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		old := cmp.Or(packages[pkg], pkg)
		for round := range rounds {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", pkg, round+1, rounds)
			if err := now.measure(pkg, pkg, filepath.Join(dir, "now-"+path.Base(pkg)), flags); err != nil {
				return false, err
			}
			if err := then.measure(pkg, old, filepath.Join(dir, "then-"+path.Base(pkg)), flags); err != nil {
				fmt.Fprintf(os.Stderr, "%s is not compared: %v\n", pkg, err)
				break
			}
		}
	}
	return table(now.got, then.got, most), nil
}

// measure runs the benchmarks of a package once; binary is built at the first time.
func (s *side) measure(name, pkg, binary string, flags []string) error {
	if _, err := os.Stat(binary); err != nil {
		if err := run(s.root, "go", "test", "-c", "-o", binary, "./"+pkg); err != nil {
			return err
		}
	}
	cmd := exec.Command(binary, append([]string{"-test.run=^$", "-test.benchmem"}, flags...)...)
	cmd.Dir, cmd.Stderr = filepath.Join(s.root, pkg), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s of %s: %w", pkg, s.root, err)
	}
	reader := benchfmt.NewReader(bytes.NewReader(out), pkg)
	for reader.Scan() {
		r, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		key := name + " " + string(r.Name)
		if s.got[key] == nil {
			s.got[key] = &figures{}
		}
		f := s.got[key]
		if v, ok := r.Value("sec/op"); ok {
			f.seconds = append(f.seconds, v)
		}
		if v, ok := r.Value("allocs/op"); ok {
			f.allocations = append(f.allocations, v)
		}
	}
	return reader.Err()
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	}
	return nil
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
