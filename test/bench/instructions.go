package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// counted is the package whose instructions are counted: it is pure, and starts no goroutine.
const counted = "relay/ystore"

// Of a benchmark as many operations are counted as take countTime, and five times as many: the
// difference has nothing of what came before. Callgrind is some 30 times as slow.
const (
	countTime    = 0.02 // seconds
	countLongest = 0.1  // seconds: rows whose operations take longer are left out
	countMost    = 1_000_000
	countTries   = 20 // Go's runtime does not always get along with Callgrind
)

// instructions prints how many instructions the benchmarks of the document store take in both
// commits, by Callgrind. They are the same wherever the code lies and whatever else the machine
// does; how long they take is another question.
func (c *comparison) instructions() (passed bool, err error) {
	then, err := c.then.measure(counted, 0, "-test.bench="+c.match, "-test.benchtime=1x")
	if err != nil {
		return false, err
	}
	now, err := c.now.measure(counted, 0, "-test.bench="+c.match, "-test.benchtime=1x")
	if err != nil {
		return false, err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "benchmark\tthen\tnow\tratio of instructions\t")
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if f, ok := then[name]; !ok || f.seconds > countLongest {
			continue
		}
		fmt.Fprintln(os.Stderr, name)
		n := int(min(max(countTime/then[name].seconds, 1), countMost))
		a, errA := c.then.instructions(name, n)
		b, errB := c.now.instructions(name, n)
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
		passed = true
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.3f\t\n", name, a, b, b/a)
	}
	return passed, nil
}

// instructions returns how many one operation takes.
func (s *side) instructions(row string, n int) (float64, error) {
	few, err := s.countInstructions(row, n)
	if err != nil {
		return 0, err
	}
	many, err := s.countInstructions(row, 5*n)
	return (many - few) / float64(4*n), err
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

func (s *side) countInstructions(row string, n int) (instructions float64, err error) {
	binary, err := s.build(counted, counted, 0)
	if err != nil {
		return 0, err
	}
	_, name, _ := strings.Cut(row, " ")
	var pattern []string
	for _, part := range strings.Split("Benchmark"+name, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	for range countTries {
		cmd := exec.Command("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary,
			"-test.run=^$", "-test.bench="+strings.Join(pattern, "/"), fmt.Sprintf("-test.benchtime=%dx", n))
		cmd.Dir = filepath.Join(s.root, counted)
		// No goroutine takes another's turn in the middle, and nothing is collected.
		cmd.Env = append(os.Environ(), "WSNODE_CORPORA="+s.corpora, "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=1")
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			return 0, fmt.Errorf("instructions are counted by valgrind: %w", err)
		}
		if found := collected.FindSubmatch(out); err == nil && found != nil {
			return strconv.ParseFloat(string(found[1]), 64)
		}
	}
	return 0, fmt.Errorf("%s: Callgrind failed %d times", row, countTries)
}
