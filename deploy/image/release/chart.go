package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What a Helm chart in a registry consists of (HIP 6).
const (
	chartConfig  types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	chartContent types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// notPacked are folders of the chart that are for its developers, as .helmignore has them.
var notPacked = []string{"test", "examples"}

var versions = regexp.MustCompile(`(?m)^(version|appVersion): .*$`)

// chartFiles are the files of the chart as a release has them: under its version, and
// with the contents of what is linked.
func chartFiles(dir, version string) (files []file, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(notPacked, name) {
			return fs.SkipDir
		}
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if name == "Chart.yaml" {
			content = versions.ReplaceAll(content, []byte(`${1}: "`+version+`"`))
		}
		files = append(files, file{"wsnode/" + filepath.ToSlash(name), 0o644, content})
		return err
	})
	return files, err
}

// chartMetadata is the part of Chart.yaml that registries show.
func chartMetadata(version string) ([]byte, error) {
	return json.Marshal(map[string]any{
		"apiVersion": "v2", "name": "wsnode", "type": "application", "version": version, "appVersion": version,
		"description": "A sync server for Yjs documents",
	})
}

// writeChart writes the packed chart, and as an OCI layout for registries. A chart's
// version has no v before it.
func writeChart(dir, out, version string, at time.Time) (digest string, err error) {
	version = strings.TrimPrefix(version, "v")
	files, err := chartFiles(dir, version)
	if err != nil {
		return "", err
	}
	packed, err := tarball(files, at)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(out, fmt.Sprintf("wsnode-chart-%s.tgz", version)), packed, 0o644); err != nil {
		return "", err
	}
	return writeArtifact(filepath.Join(out, "chart"), packed, version, at)
}

// writeArtifact writes an OCI layout of one manifest: Helm's metadata, and the chart.
func writeArtifact(out string, packed []byte, version string, at time.Time) (digest string, err error) {
	config, err := chartMetadata(version)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(out); err != nil {
		return "", err
	}
	to, err := layout.Write(out, empty.Index)
	if err != nil {
		return "", err
	}
	blob := func(kind types.MediaType, content []byte) (v1.Descriptor, error) {
		hash, size, err := v1.SHA256(bytes.NewReader(content))
		if err != nil {
			return v1.Descriptor{}, err
		}
		return v1.Descriptor{MediaType: kind, Size: size, Digest: hash}, to.WriteBlob(hash, io.NopCloser(bytes.NewReader(content)))
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: map[string]string{
		"org.opencontainers.image.title": "wsnode", "org.opencontainers.image.version": version,
		"org.opencontainers.image.created": at.UTC().Format(time.RFC3339),
	}}
	if manifest.Config, err = blob(chartConfig, config); err != nil {
		return "", err
	}
	layer, err := blob(chartContent, packed)
	if err != nil {
		return "", err
	}
	manifest.Layers = []v1.Descriptor{layer}
	text, err := json.Marshal(manifest)
	if err != nil {
		return "", err
	}
	described, err := blob(types.OCIManifestSchema1, text)
	if err != nil {
		return "", err
	}
	described.Annotations = map[string]string{"org.opencontainers.image.ref.name": version}
	return described.Digest.String(), to.AppendDescriptor(described)
}
