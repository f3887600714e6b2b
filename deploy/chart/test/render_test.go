// Package test renders the chart with Helm's engine and judges what comes out, as
// no cluster is at hand. It is a module of its own: what it needs, the product does
// not.
package test

import (
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

const (
	release   = "sync"
	namespace = "apps"
)

// read is the chart. It is rendered as often as a test asks, and not changed by that.
var read = sync.OnceValues(func() (*chart.Chart, error) {
	log.SetOutput(io.Discard) // Helm tells of each link that it follows
	return loader.LoadDir("..")
})

func load(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := read()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// examples are the values that the chart shows, by their names.
func examples(t testing.TB) map[string]chartutil.Values {
	t.Helper()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	all := map[string]chartutil.Values{}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = values
	}
	return all
}

// with is the named example with more values over it.
func with(t testing.TB, example, more string) chartutil.Values {
	t.Helper()
	values, err := chartutil.ReadValues([]byte(more))
	if err != nil {
		t.Fatal(err)
	}
	return chartutil.CoalesceTables(values, examples(t)[example])
}

// manifests renders the chart; the notes are among the manifests as NOTES.txt.
func manifests(t testing.TB, values chartutil.Values) (map[string]string, error) {
	t.Helper()
	c := load(t)
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		t.Fatal(err)
	}
	// It checks the schema as well.
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			found["NOTES.txt"] = text
			continue
		}
		for part, document := range releaseutil.SplitManifests(text) {
			found[name+" "+part] = document
		}
	}
	return found, nil
}

// refused is what the chart says to values that it does not take.
func refused(t testing.TB, values chartutil.Values) string {
	t.Helper()
	if _, err := manifests(t, values); err != nil {
		return err.Error()
	}
	return ""
}

// render renders values that must be good, and decodes everything strictly.
func render(t testing.TB, values chartutil.Values) *objects {
	t.Helper()
	all, err := manifests(t, values)
	if err != nil {
		t.Fatal(err)
	}
	o := &objects{tb: t, notes: all["NOTES.txt"]}
	delete(all, "NOTES.txt")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o.add(name, all[name])
	}
	return o
}

// eachExample renders all examples.
func eachExample(t *testing.T, check func(t *testing.T, o *objects)) {
	t.Helper()
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) { check(t, render(t, values)) })
	}
}

func readYAML[T any](t testing.TB, file string) (v T) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
