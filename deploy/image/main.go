// Command image makes the container image of wsnode as an OCI layout, which podman,
// skopeo and crane take. It needs no container engine and no network.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func main() {
	var (
		from     = flag.String("from", "", "folder with linux_amd64 and so on, each with wsnode, wsctl and sbom.cdx.json")
		license  = flag.String("license", "", "file with the license")
		out      = flag.String("out", "", "folder for the layout; what is in it is removed")
		version  = flag.String("version", "", "version of the release")
		revision = flag.String("revision", "", "commit of the release")
		created  = flag.String("created", "", "time of the commit, in seconds since 1970")
		archs    = flag.String("arch", strings.Join(architectures, ","), "architectures, separated by commas")
	)
	flag.Parse()
	digest, err := run(*from, *license, *out, *version, *revision, *created, strings.Split(*archs, ","))
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Printf("%s %s\n", *out, digest)
}

func run(from, license, out, version, revision, created string, archs []string) (digest string, err error) {
	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil || out == "" || version == "" || revision == "" {
		return "", fmt.Errorf("expected -from, -license, -out, -version, -revision and -created in seconds")
	}
	text, err := os.ReadFile(license)
	if err != nil {
		return "", err
	}
	index, err := build(from, text, release{version, revision, time.Unix(seconds, 0).UTC(), archs})
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(out); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	// One entry, the index of both architectures: tools that copy an image ask which
	// one is meant if there are more.
	list, err := layout.Write(out, empty.Index)
	if err != nil {
		return "", err
	}
	if err := list.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": version})); err != nil {
		return "", err
	}
	hash, err := index.Digest()
	return hash.String(), err
}
