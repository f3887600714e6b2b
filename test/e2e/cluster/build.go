// Package cluster starts the real processes of end-to-end tests: wsnode in dev
// mode, wsnode nodes, nats-server, and a balancer before nodes. All listen on
// the loopback only, and whatever is started ends with its test.
package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// raceVariable is the environment variable that, when not empty, has wsnode and
// wsctl built with the race detector.
const raceVariable = "WSNODE_E2E_RACE"

// binariesVariable names a folder with what the task binaries has built, for the
// packages that test one after the other. Without it each test process builds what
// it needs.
const binariesVariable = "WSNODE_E2E_BINARIES"

var binaries struct {
	mu    sync.Mutex
	dir   string
	built map[string]error
}

// Main runs a package's tests, removes the binaries that they built, and fails
// if a goroutine is left. Call it from TestMain, and exit with its result.
func Main(m *testing.M) int {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if binaries.dir != "" {
		if err := os.RemoveAll(binaries.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// WithoutRace has a test that measures run wsnode without the race detector, which
// takes many times the memory and the time.
func WithoutRace(t *testing.T) { t.Setenv(raceVariable, "") }

// Race reports whether wsnode runs with the race detector, which makes it several
// times slower.
func Race() bool { return os.Getenv(raceVariable) != "" }

// Binary returns the path of a command, which is built once per test process unless
// it has been before.
func Binary(tb testing.TB, pkg string) string {
	tb.Helper()
	if dir := os.Getenv(binariesVariable); dir != "" {
		path := binaryIn(dir, pkg)
		if _, err := os.Stat(path); err == nil { // go test sees it, too, and repeats a test when the file has changed
			return path
		}
		// What only one test needs is built for it.
	}
	b := &binaries
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.built == nil {
		b.built = map[string]error{}
		b.dir, b.built[""] = os.MkdirTemp("", "wsnode-e2e-")
	}
	path := binaryIn(b.dir, pkg)
	err, done := b.built[path]
	if !done {
		err = errors.Join(b.built[""], build(path, pkg))
		b.built[path] = err
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func binaryIn(dir, pkg string) string {
	switch {
	case pkg == natsServer:
		return filepath.Join(dir, "nats-server")
	case raced(pkg):
		return filepath.Join(dir, "race", filepath.Base(pkg)) // by its own name, for shells
	}
	return filepath.Join(dir, filepath.Base(pkg))
}

// raced reports whether a command is built with the race detector: what examples and
// tests bring is not what is tested.
func raced(pkg string) bool { return Race() && (pkg == wsnode || pkg == wsctl) }

func build(path, pkg string) error {
	args := []string{"build", "-o", path}
	env := os.Environ()
	if raced(pkg) {
		args, env = append(args, "-race"), append(env, "CGO_ENABLED=1") // the detector needs it
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir, cmd.Env = Root(), env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

const (
	wsnode     = "./cmd/wsnode"
	wsctl      = "./cmd/wsctl"
	natsServer = "github.com/nats-io/nats-server/v2"
)

// Root is the folder of go.mod.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Wsctl runs wsctl and returns what it printed; it must succeed.
func Wsctl(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.Command(Binary(tb, wsctl), args...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			tb.Fatalf("wsctl %q: %v\n%s%s", args, err, out, exit.Stderr)
		}
		tb.Fatalf("wsctl %q: %v", args, err)
	}
	return string(out)
}
