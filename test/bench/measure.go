package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

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
	root, built, corpora string              // folders: its checkout, its binaries, what the document store is measured with
	env                  []string            // of the benchmarks, beside this process's
	got                  map[string]*figures // by package of this checkout and benchmark
}

func newSide(root, built, corpora string) *side {
	return &side{root: root, built: built, corpora: corpora, got: map[string]*figures{}}
}

// only is the flag that selects the benchmarks which the side has measured of a package: what
// the other one has beside them is not worth its time.
func (s *side) only(pkg string) []string {
	names := map[string]bool{}
	for key := range s.got {
		if of, benchmark, _ := strings.Cut(key, " "); of == pkg {
			name, _, _ := strings.Cut(benchmark, "/")
			names[name] = true
		}
	}
	return []string{"-test.bench=^Benchmark(" + strings.Join(slices.Sorted(maps.Keys(names)), "|") + ")$"}
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

// measure runs the benchmarks of a package once.
func (s *side) measure(name, pkg string, flags []string) error {
	binary := filepath.Join(s.built, strings.ReplaceAll(name, "/", "-"))
	if _, err := os.Stat(binary); err != nil {
		if err := run(s.root, "go", "test", "-c", "-o", binary, "./"+pkg); err != nil {
			return err
		}
	}
	cmd := exec.Command(binary, append([]string{"-test.run=^$", "-test.benchmem"}, flags...)...)
	cmd.Dir, cmd.Stderr = filepath.Join(s.root, pkg), os.Stderr
	cmd.Env = append(append(os.Environ(), s.env...), "WSNODE_CORPORA="+s.corpora)
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
		key := name + " " + processors.ReplaceAllString(string(r.Name), "")
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
