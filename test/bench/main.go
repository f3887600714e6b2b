// Command bench compares the Go benchmarks of this checkout with those of another commit
// on the same machine: figures of two days say little about the code.
//
//	go run ./test/bench -with COMMIT
//
// A benchmark is compared where both commits have one of its name in a package of the same
// name, or in the one that took its place. Each round measures a benchmark of both commits
// some times for a moment, in turns and each in a process of its own, and keeps the least
// of each: what else the machine does meets both alike, and only adds. From round to round
// both binaries have their functions in another of some orders: where the code lies in
// memory alone makes the same code several per cent faster or slower.
//
// The table says the ratio of the medians of the time, the interval that holds the median of the rounds'
// ratios with 95 % confidence, and the allocations of both. A row whose interval reaches above -most is
// measured again before the verdict: "worse" if its whole interval lies above, "unresolved" if only
// a part of it. With the checkout's own commit, the table shows what the machine can resolve.
// Exit code 1 if a row is worse, or allocates more often: at its least, than formerly in the median.
//
//	go run ./test/bench -with COMMIT -record allocations.txt
//
// writes down how often the benchmarks of that commit allocate, for the test of this
// package.
//
//	go run ./test/bench -with COMMIT -instructions
//
// counts the instructions of the document store's benchmarks, where times cannot tell. Narrow
// it with -bench: what Growth sets up takes minutes for each of its rows.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	with := flag.String("with", "", "commit to compare with")
	record := flag.String("record", "", "write the allocations of the commit into this file, and compare nothing")
	c := comparison{rows: map[string]*row{}}
	flag.IntVar(&c.rounds, "rounds", 16, "rounds, in which each commit measures in two turns")
	flag.DurationVar(&c.enough, "enough", time.Minute, "time after which a benchmark of some rounds gets no more of them")
	flag.IntVar(&c.again, "again", 2, "how many times as many rounds follow for rows that are above -most, or may be")
	flag.IntVar(&c.count, "count", 3, "how often a process measures, of which the least counts")
	flag.IntVar(&c.layouts, "layouts", 8, "orders of functions in which the binaries are linked")
	flag.Float64Var(&c.most, "most", 1.03, "the highest ratio that passes")
	flag.StringVar(&c.benchtime, "benchtime", "20ms", "of each measurement, as of go test")
	flag.StringVar(&c.match, "bench", ".", "as of go test")
	instructions := flag.Bool("instructions", false, "count the instructions of the document store's benchmarks instead, with valgrind")
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
		c.now, c.then = now, then
		if *instructions {
			passed, err = c.instructions()
		} else {
			passed, err = c.run()
		}
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
	return f(
		&side{root: here, built: filepath.Join(dir, "now"), corpora: corpora},
		&side{root: former, built: filepath.Join(dir, "then"), corpora: corpora, moved: packages},
	)
}
