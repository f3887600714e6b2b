//go:build built

package test

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	core "k8s.io/api/core/v1"
)

// patience is how long a busy machine may take for anything.
const patience = 2 * time.Minute

// output keeps what a process says.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *output) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *output) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs the node until stop, which waits for its end.
func (c *container) start() (said *output, stop func()) {
	c.t.Helper()
	said = &output{}
	cmd := c.command(c.args...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := <-ended; err != nil {
			c.t.Errorf("the node ended with %v\n%s", err, said)
		}
	})
	c.t.Cleanup(stop)
	return said, stop
}

// passes waits until a probe of the container succeeds.
func passes(t *testing.T, p *core.Probe, host string, port int32, said *output) {
	t.Helper()
	url := fmt.Sprintf("http://%s:%d%s", host, port, p.HTTPGet.Path)
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		r, err := http.Get(url)
		if err == nil {
			if r.Body.Close(); r.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, %v\n%s", url, r, err, said)
		}
	}
}

func TestTheStandaloneChartServesClientsAndKeepsTheirDocumentOverARestart(t *testing.T) {
	// An address of loopback that nobody else has: pods have addresses of their own, too.
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, 1+pid%254)
	o := render(t, with(t, "standalone", fmt.Sprintf("settings: {listen: '%[1]s:8080', adminListen: '%[1]s:9090', drainDelay: 0s, drainSpread: 0s}", host)))
	c := unpack(t, o)
	c.makeKey()
	token := strings.TrimSpace(c.output("/wsctl", "token", "mint", "--key", c.path("/tmp/operator.pem"), "--tenant", "acme", "--app", "notes"))

	for _, what := range []string{"write", "read"} {
		said, stop := c.start()
		for _, p := range []*core.Probe{o.node().StartupProbe, o.node().ReadinessProbe, o.node().LivenessProbe} {
			passes(t, p, host, o.node().Ports[1].ContainerPort, said)
		}
		if out, err := exec.CommandContext(t.Context(), "node", "clients.mjs", what, fmt.Sprintf("ws://%s:8080", host), token).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", what, err, out, said)
		}
		stop()
	}
	kept := false
	_ = filepath.WalkDir(filepath.Join(c.root, "data", "documents"), func(path string, _ fs.DirEntry, _ error) error {
		kept = kept || strings.HasSuffix(path, "/acme/notes/kept.yjs")
		return nil
	})
	if !kept {
		t.Error("the volume does not have the document")
	}
}

// makeKey makes the key that signs tokens, and the key set where the pods have it.
func (c *container) makeKey() {
	c.t.Helper()
	file := filepath.Join(c.root, "tmp", "operator.pem")
	writeKey(c.t, file)
	if err := os.Chmod(file, 0o644); err != nil {
		c.t.Fatal(err)
	}
	set := c.output("/wsctl", "token", "jwks", "--key", c.path("/tmp/operator.pem"))
	if err := os.WriteFile(filepath.Join(c.root, c.env["WSNODE_JWKS_FILE"]), []byte(set), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// What a release packs is what Helm reads of the folder, under the release's version.
func TestThePackedChartIsTheChart(t *testing.T) {
	file := filepath.Join(filepath.Dir(os.Getenv("WSNODE_TEST_IMAGE")), "release-here", "wsnode-chart-0.0.0.tgz")
	packed, err := loader.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := packed.Validate(); err != nil || packed.Metadata.Version != "0.0.0" || packed.AppVersion() != "0.0.0" {
		t.Errorf("%+v, %v", packed.Metadata, err)
	}
	contents := func(c *chart.Chart) map[string]string {
		files := map[string]string{}
		for _, f := range append(c.Raw, c.Files...) {
			if f.Name != "Chart.yaml" {
				files[f.Name] = string(f.Data)
			}
		}
		return files
	}
	if got, expected := contents(packed), contents(load(t)); !maps.Equal(got, expected) {
		t.Errorf("packed are %q, expected %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(expected)))
	}
}
