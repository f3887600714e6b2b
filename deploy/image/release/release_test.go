package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

const repository = "../../.."

// released makes a release of files that stand for programs.
func released(t *testing.T, text string) (out, said string) {
	t.Helper()
	from := t.TempDir()
	for _, name := range []string{
		"linux_amd64/wsnode", "linux_amd64/wsctl", "linux_amd64/sbom.cdx.json",
		"darwin_arm64/wsnode", "darwin_arm64/wsctl", "darwin_arm64/sbom.cdx.json",
	} {
		file := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	out = filepath.Join(t.TempDir(), "release")
	said, err := run(from, repository, out, "v1.2.3", "1790000000", []string{"linux/amd64", "darwin/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	return out, said
}

func untar(t *testing.T, file string) map[string]string {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func TestAReleaseHasAnArchiveForEachPlatformAndTheChart(t *testing.T) {
	out, said := released(t, "")
	sums, err := os.ReadFile(filepath.Join(out, "checksums.txt"))
	if err != nil || !strings.HasPrefix(said, string(sums)) {
		t.Errorf("%q is not what was said: %q, %v", sums, said, err)
	}
	var names []string
	for line := range strings.Lines(string(sums)) {
		names = append(names, strings.Fields(line)[1])
	}
	expected := []string{"wsnode-chart-1.2.3.tgz", "wsnode_1.2.3_darwin_arm64.tar.gz", "wsnode_1.2.3_linux_amd64.tar.gz"}
	if !slices.Equal(names, expected) {
		t.Errorf("checksums of %q, expected %q", names, expected)
	}
	files := untar(t, filepath.Join(out, expected[2]))
	for _, name := range []string{"wsnode", "wsctl", "sbom.cdx.json", "LICENSE", "README.md", "CHANGELOG.md", "wsnode.service"} {
		if files["wsnode_1.2.3_linux_amd64/"+name] == "" {
			t.Errorf("no %s in %s", name, expected[2])
		}
	}
}

func TestThePackedChartIsOfTheReleasesVersionAndWhole(t *testing.T) {
	out, _ := released(t, "")
	files := untar(t, filepath.Join(out, "wsnode-chart-1.2.3.tgz"))
	if c := files["wsnode/Chart.yaml"]; !strings.Contains(c, "\nversion: \"1.2.3\"\n") || !strings.Contains(c, "\nappVersion: \"1.2.3\"\n") {
		t.Error(c)
	}
	alerts, err := os.ReadFile(filepath.Join(repository, "deploy/prometheus/alerts.yaml"))
	if err != nil || files["wsnode/files/alerts.yaml"] != string(alerts) {
		t.Errorf("other alerts than those of deploy: %v", err)
	}
	for name := range files {
		for _, dir := range notPacked {
			if strings.HasPrefix(name, "wsnode/"+dir+"/") {
				t.Errorf("%s is for developers", name)
			}
		}
	}
	for _, name := range []string{"values.yaml", "values.schema.json", "templates/deployment.yaml", "templates/NOTES.txt"} {
		if files["wsnode/"+name] == "" {
			t.Errorf("no %s", name)
		}
	}
	top, err := layout.ImageIndexFromPath(filepath.Join(out, "chart"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := top.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatal(list, err)
	}
	artifact, err := top.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := artifact.Manifest()
	if err != nil || m.Config.MediaType != chartConfig || len(m.Layers) != 1 || m.Layers[0].MediaType != chartContent {
		t.Fatalf("%+v, %v", m, err)
	}
	packed, err := os.ReadFile(filepath.Join(out, "chart", "blobs", "sha256", m.Layers[0].Digest.Hex))
	if chart, _ := os.ReadFile(filepath.Join(out, "wsnode-chart-1.2.3.tgz")); err != nil || !bytes.Equal(packed, chart) {
		t.Errorf("the artifact holds another chart: %v", err)
	}
}

func TestTwoReleasesOfOneCommitAreTheSameBytes(t *testing.T) {
	_, first := released(t, "")
	if _, second := released(t, ""); first != second {
		t.Errorf("%s\n%s", first, second)
	}
	if _, other := released(t, "changed"); first == other {
		t.Error("other programs have the same checksums")
	}
}

func TestWhatAReleaseLacksIsSaid(t *testing.T) {
	for _, args := range [][]string{{"", "v1.0.0", "1", "linux/amd64"}, {"out", "1.0.0", "1", "linux/amd64"}, {"out", "v1.0.0", "today", "linux/amd64"}, {"out", "v1.0.0", "1", "linux"}} {
		out := args[0]
		if out != "" {
			out = filepath.Join(t.TempDir(), out)
		}
		if _, err := run(t.TempDir(), repository, out, args[1], args[2], args[3:]); err == nil {
			t.Errorf("%q made a release", args)
		}
	}
}
