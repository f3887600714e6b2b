package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who the processes are: nobody on the host, and not root.
const user = 65532

// maxCompressed bounds what a machine has to fetch, in bytes.
const maxCompressed = 30 << 20

// architectures are those that a release's image is made for, in the order of its index.
var architectures = []string{"amd64", "arm64"}

// release says what the image is of. Two builds of one release are the same bytes.
type release struct {
	version, revision string
	created           time.Time // of the commit
	architectures     []string
}

// labels are the annotations of the image, under the names of the OCI.
func (r release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":         "wsnode",
		prefix + "description":   "A sync server for Yjs documents",
		prefix + "licenses":      "Apache-2.0",
		prefix + "source":        "https://github.com/wsnode/wsnode",
		prefix + "documentation": "https://github.com/wsnode/wsnode/tree/main/docs",
		prefix + "version":       r.version,
		prefix + "revision":      r.revision,
		prefix + "created":       r.created.UTC().Format(time.RFC3339),
	}
}

// build makes the image for the release's architectures of the files in from, which has a
// folder linux_ARCH with wsnode, wsctl and sbom.cdx.json, what they are made of, for each.
func build(from string, license []byte, r release) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range r.architectures {
		files, err := contents(filepath.Join(from, "linux_"+arch), license)
		if err != nil {
			return nil, err
		}
		image, err := imageOf(files, arch, r)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return mutate.Annotations(index, r.labels()).(v1.ImageIndex), nil
}

// file is a file or, without content, a folder of the image.
type file struct {
	name    string
	mode    int64
	content []byte
}

// contents are the files of an image: there is nothing else in it, no shell either.
func contents(binaries string, license []byte) ([]file, error) {
	files := []file{
		{name: "etc/", mode: 0o755}, {name: "etc/ssl/", mode: 0o755}, {name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities()},
		{name: "LICENSE", mode: 0o644, content: license},
		{name: "tmp/", mode: 0o1777}, // for the embedded NATS without --data
	}
	for _, f := range []file{{name: "sbom.cdx.json", mode: 0o644}, {name: "wsctl", mode: 0o755}, {name: "wsnode", mode: 0o755}} {
		var err error
		if f.content, err = os.ReadFile(filepath.Join(binaries, f.name)); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// authorities are Mozilla's CA certificates as the module that go.mod names has
// them. Those that are trusted for a part of the web only are left out: a file
// cannot say so.
func authorities() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return text.Bytes()
}

func imageOf(files []file, arch string, r release) (v1.Image, error) {
	packed, err := pack(files, r.created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
	if err != nil {
		return nil, err
	}
	if size, err := layer.Size(); err != nil || size > maxCompressed {
		return nil, fmt.Errorf("the layer for %s has %d bytes, at most %d are wanted: %w", arch, size, maxCompressed, err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "deploy/image"},
	}); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, config(image, arch, r))
}

func config(image v1.Image, arch string, r release) *v1.ConfigFile {
	c := &v1.ConfigFile{Architecture: arch, OS: "linux", Created: v1.Time{Time: r.created}}
	if made, err := image.ConfigFile(); err == nil { // made of values: it cannot fail
		c.RootFS, c.History = made.RootFS, made.History
	}
	c.Config = v1.Config{
		User: fmt.Sprintf("%d:%d", user, user), Env: []string{"PATH=/"}, Entrypoint: []string{"/wsnode"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
		Labels:       r.labels(), StopSignal: "SIGTERM",
	}
	return c
}

// pack writes a tar whose bytes depend on the files and the time of the commit only.
func pack(files []file, at time.Time) ([]byte, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, ModTime: at.Truncate(time.Second), Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.content == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return packed.Bytes(), w.Close()
}
