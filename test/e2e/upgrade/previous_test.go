// Package upgrade replaces the nodes of a region by those of another version, one by
// one, under clients that type: from the version before this one to this one, and back.
package upgrade

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// previousCommit is that of the version before this one. The file moves with each
// release; the task that runs this reads it, too.
//
//go:embed previous.txt
var previousCommit string

// soak has the test as large as its contract says.
func soak() bool { return os.Getenv("WSNODE_SOAK") != "" }

// errNoHistory says that the repository does not have the commit: it is a shallow
// clone, or none.
var errNoHistory = errors.New("the repository does not have the commit of the version before")

// version is the programs of one version.
type version struct {
	name          string
	wsnode, wsctl string
}

func current(t *testing.T) version {
	t.Helper()
	return version{"this version", cluster.Binary(t, "./cmd/wsnode"), cluster.Binary(t, "./cmd/wsctl")}
}

// previous is the version before this one, built from its commit. A tree without it
// cannot: then the nodes are replaced by their own version, and the task that runs this
// says so.
func previous(t *testing.T) version {
	t.Helper()
	commit := strings.TrimSpace(previousCommit)
	bin, err := buildCommit(commit)
	if errors.Is(err, errNoHistory) {
		t.Logf("LEFT OUT: %v; this version is replaced by itself", err)
		return current(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	return version{"commit " + commit[:7], filepath.Join(bin, "wsnode"), filepath.Join(bin, "wsctl")}
}

// buildCommit builds a commit once. The place of its source is always the same, so that
// the compiler's cache knows it.
func buildCommit(commit string) (bin string, err error) {
	root := cluster.Root()
	dir := filepath.Join(root, "test", "artifacts", "previous", commit)
	archive, source, bin := filepath.Join(dir, "source.tar"), filepath.Join(dir, "source"), filepath.Join(dir, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := exec.Command("git", "-C", root, "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		return "", errNoHistory
	}
	if err := os.MkdirAll(source, 0o755); err != nil {
		return "", err
	}
	built := filepath.Join(dir, "built")
	for _, args := range [][]string{
		{"git", "-C", root, "archive", "--output", archive, commit},
		{"tar", "-xf", archive, "-C", source},
		{"go", "-C", source, "build", "-o", built + "/", "./cmd/wsnode", "./cmd/wsctl"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q: %w\n%s", args, err, out)
		}
	}
	// What is there is whole.
	return bin, errors.Join(os.Rename(built, bin), os.RemoveAll(source), os.Remove(archive))
}
