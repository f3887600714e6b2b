package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// packages are those whose benchmarks are compared: of this checkout, and what they were
// in the former commit if that is another name.
var packages = map[string]string{
	"authn": "", "kvpin": "", "relay": "", "relay/bus": "", "relay/history": "", "relay/ystore": "",
	"relay/quota": "relay/limits", "relay/ratelimit": "relay/limits",
}

// narrowed are the benchmarks of packages of which not all are compared: a registry is filled
// with 100,000 pins each time that the others begin, and they have a task of their own.
var narrowed = map[string]string{"kvpin": "servers=1/pins=0$"}

// narrow is the flag that chooses benchmarks of a package by their functions.
func (c *comparison) narrow(pkg, functions string) string {
	_, below, chosen := strings.Cut(c.match, "/")
	if !chosen {
		below = narrowed[pkg]
	}
	if below != "" {
		functions += "/" + below
	}
	return "-test.bench=" + functions
}

// figure is what one run of a benchmark measured, per operation.
type figure struct{ seconds, allocations float64 }

// keepLeast keeps the least of what was measured of a benchmark.
func keepLeast(figures map[string]figure, name string, f figure) {
	if kept, ok := figures[name]; ok {
		f.seconds, f.allocations = min(f.seconds, kept.seconds), min(f.allocations, kept.allocations)
	}
	figures[name] = f
}

// side is one of the two commits.
type side struct {
	root, built, corpora string            // folders: its checkout, its binaries, what the document store is measured with
	moved                map[string]string // as packages, nil for this checkout
	env                  []string          // of the benchmarks, beside this process's
}

// shareCorpora has the former benchmarks of the document store read the recorded sessions of
// this checkout, in the place of some that no repository holds.
func shareCorpora(former string) error {
	file := filepath.Join(former, "relay", "ystore", "bench_test.go")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // the package is not compared then
	}
	_, after, found := strings.Cut(string(text), "var traces = []string{")
	if !found {
		return nil
	}
	before, _, _ := strings.Cut(string(text), "var traces = []string{")
	_, after, _ = strings.Cut(after, "}")
	changed := before + `var traces = []string{"alone", "reloads", "together", "blocks", "shapes"}` +
		strings.NewReplacer(`"json-crdt-patch"`, `"alone"`, `"friendsforever"`, `"together"`).Replace(after)
	return os.WriteFile(file, []byte(changed), 0o644)
}

// measure runs benchmarks of a package, which is named as in this checkout. The figures are
// by package and benchmark, the least of each.
func (s *side) measure(pkg string, layout int, flags ...string) (map[string]figure, error) {
	folder := cmp.Or(s.moved[pkg], pkg)
	binary, err := s.build(pkg, folder, layout)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, append([]string{"-test.run=^$", "-test.benchmem"}, flags...)...)
	cmd.Dir, cmd.Stderr = filepath.Join(s.root, folder), os.Stderr
	cmd.Env = append(append(os.Environ(), s.env...), "WSNODE_CORPORA="+s.corpora)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", folder, s.root, err)
	}
	got := map[string]figure{}
	reader := benchfmt.NewReader(bytes.NewReader(out), pkg)
	for reader.Scan() {
		r, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		var f figure
		f.seconds, _ = r.Value("sec/op")
		f.allocations, _ = r.Value("allocs/op")
		keepLeast(got, pkg+" "+processors.ReplaceAllString(string(r.Name), ""), f)
	}
	return got, reader.Err()
}

// build links the package's test binary with the functions in an order that the layout
// says, 0 being the linker's own.
func (s *side) build(pkg, folder string, layout int) (binary string, err error) {
	binary = filepath.Join(s.built, fmt.Sprint(strings.ReplaceAll(pkg, "/", "-"), "-", layout))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	return binary, run(s.root, "go", "test", "-c", fmt.Sprint("-ldflags=-randlayout=", layout), "-o", binary, "./"+folder)
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	}
	return nil
}
