package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const commitTime = 1_790_000_000

// buildFrom makes a layout of files that stand for the binaries.
func buildFrom(t *testing.T, text string) (out, said string) {
	t.Helper()
	from := t.TempDir()
	for _, arch := range architectures {
		for _, name := range []string{"wsnode", "wsctl", "sbom.cdx.json"} {
			file := filepath.Join(from, "linux_"+arch, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(arch+name+text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	out = filepath.Join(t.TempDir(), "image")
	said, err := run(from, "../../LICENSE", out, "v1.2.3", "c949dad", strconv.Itoa(commitTime), architectures)
	if err != nil {
		t.Fatal(err)
	}
	return out, said
}

// images reads a layout's images by their architecture.
func images(t *testing.T, out string) map[string]v1.Image {
	t.Helper()
	top, err := layout.ImageIndexFromPath(out)
	if err != nil {
		t.Fatal(err)
	}
	named, err := top.IndexManifest()
	if err != nil || len(named.Manifests) != 1 || named.Manifests[0].Annotations["org.opencontainers.image.ref.name"] == "" {
		t.Fatalf("expected one name: %+v, %v", named, err)
	}
	if top, err = top.ImageIndex(named.Manifests[0].Digest); err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	list, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]v1.Image{}
	for _, m := range list.Manifests {
		image, err := top.Image(m.Digest)
		if err != nil || m.Platform == nil {
			t.Fatalf("%+v: %v", m, err)
		}
		found[m.Platform.Architecture] = image
	}
	return found
}

// files reads the names of an image's files, with their headers, and the content of
// what is small.
func files(t *testing.T, image v1.Image) (headers map[string]*tar.Header, contents map[string]string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	packed, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	headers, contents = map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(packed); ; {
		h, err := r.Next()
		if err == io.EOF {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		headers[h.Name], contents[h.Name] = h, string(content)
	}
}

func TestTheImageIsForBothArchitecturesAndNotForRoot(t *testing.T) {
	out, _ := buildFrom(t, "")
	all := images(t, out)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, architectures) {
		t.Fatalf("images for %v", got)
	}
	for arch, image := range all {
		if err := validate.Image(image); err != nil {
			t.Error(err)
		}
		c, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c.OS != "linux" || c.Architecture != arch || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/wsnode"}) || !c.Created.Equal(time.Unix(commitTime, 0)) {
			t.Errorf("%+v", c)
		}
		for name, value := range map[string]string{"version": "v1.2.3", "revision": "c949dad", "licenses": "Apache-2.0"} {
			if got := c.Config.Labels["org.opencontainers.image."+name]; got != value {
				t.Errorf("label %s is %q, expected %q", name, got, value)
			}
		}
		headers, contents := files(t, image)
		expected := []string{"LICENSE", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "sbom.cdx.json", "tmp/", "wsctl", "wsnode"}
		if got := slices.Sorted(maps.Keys(headers)); !slices.Equal(got, expected) {
			t.Errorf("the image holds %v", got)
		}
		for name, h := range headers {
			if h.Uid != 0 || h.Gid != 0 || h.Mode&0o022 != 0 && name != "tmp/" {
				t.Errorf("%s can be changed by its user: %+v", name, h)
			}
		}
		if contents["wsnode"] != arch+"wsnode" || contents["wsctl"] != arch+"wsctl" {
			t.Errorf("other binaries: %q, %q", contents["wsnode"], contents["wsctl"])
		}
	}
}

func TestTheImageHasTheAuthoritiesOfTheWeb(t *testing.T) {
	out, _ := buildFrom(t, "")
	_, contents := files(t, images(t, out)["amd64"])
	rest, certificates := []byte(contents["etc/ssl/certs/ca-certificates.crt"]), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
			t.Errorf("certificate %d: %v", certificates, err)
		}
		certificates++
	}
	if certificates < 100 || len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("%d certificates, and %d bytes more", certificates, len(rest))
	}
}

func TestTwoBuildsAreOneDigest(t *testing.T) {
	digest := func(text string) string {
		_, said := buildFrom(t, text)
		return said
	}
	first := digest("")
	if second := digest(""); first != second || !strings.HasPrefix(first, "sha256:") {
		t.Errorf("%s and %s", first, second)
	}
	if other := digest("changed"); first == other {
		t.Error("other files have the same digest")
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image")
	for _, args := range [][]string{
		{"", "../../LICENSE", out, "v1", "c9", "yesterday"}, {"", "../../LICENSE", out, "", "c9", "1"}, {t.TempDir(), "../../LICENSE", out, "v1", "c9", "1"},
	} {
		if _, err := run(args[0], args[1], args[2], args[3], args[4], args[5], architectures); err == nil {
			t.Errorf("%q made an image", args)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an image was left behind")
	}
}
