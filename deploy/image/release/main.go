// Command release makes of built programs what a release consists of beside the
// image: an archive for each platform, the Helm chart, and the checksums of all. The
// same commit gives the same bytes.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	var (
		from    = flag.String("from", "", "folder with a folder OS_ARCH for each platform, which has wsnode, wsctl and sbom.cdx.json")
		root    = flag.String("root", "", "folder of the repository")
		out     = flag.String("out", "", "folder for the release")
		version = flag.String("version", "", "version of the release, such as v1.2.3")
		created = flag.String("created", "", "time of the commit, in seconds since 1970")
	)
	flag.Parse()
	said, err := run(*from, *root, *out, *version, *created, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
	fmt.Print(said)
}

// run makes a release for the platforms, each as OS/ARCH, and tells its checksums.
func run(from, root, out, version, created string, platforms []string) (sums string, err error) {
	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil || out == "" || !strings.HasPrefix(version, "v") || len(platforms) == 0 {
		return "", fmt.Errorf("expected -out, -version with a v, -created in seconds, and platforms")
	}
	at := time.Unix(seconds, 0).UTC()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	for _, platform := range platforms {
		if err := writeArchive(from, root, out, version, platform, at); err != nil {
			return "", err
		}
	}
	digest, err := writeChart(filepath.Join(root, "deploy", "chart"), out, version, at)
	if err != nil {
		return "", err
	}
	if sums, err = checksums(out); err != nil {
		return "", err
	}
	return sums + digest + "  chart\n", os.WriteFile(filepath.Join(out, "checksums.txt"), []byte(sums), 0o644)
}

func writeArchive(from, root, out, version, platform string, at time.Time) error {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("%q: expected OS/ARCH", platform)
	}
	name := fmt.Sprintf("wsnode_%s_%s_%s", strings.TrimPrefix(version, "v"), system, arch)
	dir := filepath.Join(from, system+"_"+arch)
	var files []file
	for _, f := range []struct {
		path string
		mode int64
	}{
		{filepath.Join(dir, "wsnode"), 0o755}, {filepath.Join(dir, "wsctl"), 0o755}, {filepath.Join(dir, "sbom.cdx.json"), 0o644},
		{filepath.Join(root, "LICENSE"), 0o644}, {filepath.Join(root, "README.md"), 0o644}, {filepath.Join(root, "CHANGELOG.md"), 0o644},
		{filepath.Join(root, "deploy", "systemd", "wsnode.service"), 0o644},
	} {
		content, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		files = append(files, file{name + "/" + filepath.Base(f.path), f.mode, content})
	}
	packed, err := tarball(files, at)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, name+".tar.gz"), packed, 0o644)
}

// checksums are those of all files of the release, as sha256sum prints them.
func checksums(out string) (string, error) {
	var sums strings.Builder
	var files []string
	for _, pattern := range []string{"*.tar.gz", "*.tgz"} {
		found, err := filepath.Glob(filepath.Join(out, pattern))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), filepath.Base(file))
	}
	return sums.String(), nil
}
