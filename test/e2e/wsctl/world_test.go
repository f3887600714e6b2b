package wsctl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// world is two regions: eu-central-1 with nodes eu-1 and eu-2, us-east-1 with
// us-1. Both registries are on the first region's NATS. Tokens are signed by
// wsctl with the operator's key.
type world struct {
	t                *testing.T
	euNATS, usNATS   string
	monitor          string // of the first region's NATS
	eu1, eu2, us1    *cluster.Node
	admin            map[string]string // base URL of the admin listeners by node
	dir              string            // of operator.pem and token.jwt
	grace            string
	key, jwks, token string
	clients          *yjs.Node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, "2s")
}

// newWorldWith is newWorld with a grace period.
func newWorldWith(t *testing.T, grace string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), grace: grace, admin: map[string]string{}}
	w.makeKey()
	w.euNATS, w.monitor = startNATS(t, "always")
	w.usNATS, _ = startNATS(t, "always")
	euURL, usURL := cluster.FreeAddress(t), ""
	w.eu1 = w.start("eu-1", "eu-central-1", euURL, euURL, w.euNATS)
	w.eu2 = w.start("eu-2", "eu-central-1", cluster.FreeAddress(t), euURL, w.euNATS)
	usURL = cluster.FreeAddress(t)
	w.us1 = w.start("us-1", "us-east-1", usURL, usURL, w.usNATS)
	for _, n := range []*cluster.Node{w.eu1, w.eu2, w.us1} {
		cluster.Started(t, n.Process, n.Addr)
	}
	w.token = w.mint()
	w.write("token.jwt", []byte(w.token+"\n"))
	w.clients = yjs.Start(t)
	return w
}

// startNATS starts a nats-server that also has a monitoring port, and syncs its writes
// so often.
func startNATS(t *testing.T, sync string) (natsURL, monitor string) {
	t.Helper()
	clients, monitoring := cluster.FreeAddress(t), cluster.FreeAddress(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nhttp: %q\njetstream { store_dir: %q, sync_interval: %s }\n", clients, monitoring, dir, sync)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	binary := cluster.Binary(t, "github.com/nats-io/nats-server/v2")
	p := cluster.Run(t, "nats-server", binary, "-c", config)
	p.WaitLine(func(line string) bool { return strings.Contains(line, "Server is ready") })
	return "nats://" + clients, "http://" + monitoring
}

// makeKey makes the operator's key and publishes it.
func (w *world) makeKey() {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.key = w.write("operator.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	keys := []byte(w.ctl("token", "jwks", "--key", w.key).must().out)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(keys) }))
	w.t.Cleanup(server.Close)
	w.jwks = server.URL
}

func (w *world) write(name string, data []byte) string {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// mint makes a token with the operator's key.
func (w *world) mint(flags ...string) string {
	w.t.Helper()
	args := append([]string{"token", "mint", "--key", w.key, "--tenant", "acme", "--app", "notes"}, flags...)
	return strings.TrimSpace(w.ctl(args...).must().out)
}

func (w *world) start(node, region, listen, public, nats string) *cluster.Node {
	w.t.Helper()
	admin := cluster.FreeAddress(w.t)
	w.admin[node] = "http://" + admin
	p := cluster.RunWsnode(w.t, "serve", "--region", region, "--node", node, "--listen", listen, "--public-url", "ws://"+public,
		"--nats-url", nats, "--registry", "aws-eu-west-1="+w.euNATS, "--registry", "aws-us-east-1="+w.euNATS,
		"--jwks-url", w.jwks, "--grace", w.grace, "--drain-spread", "0s", "--admin-listen", admin, "--pprof")
	return &cluster.Node{Process: p, Addr: listen}
}

// join opens a document as a client of a node and types into it.
func (w *world) join(n *cluster.Node, document, text string) *yjs.Client {
	w.t.Helper()
	c := w.clients.Join(yjs.Options{URL: n.WS(), Document: document, Token: w.token})
	if text != "" {
		c.Insert(-1, text)
	}
	return c
}

// env is the environment in which an operator types.
func (w *world) env() []string {
	return append(os.Environ(),
		"WSCTL_NATS_URL="+w.euNATS+" "+w.usNATS, "XDG_CONFIG_HOME="+filepath.Join(w.dir, "config"), "WSCTL_TOKEN=", "WSCTL_CONTEXT=")
}

// result is what a run of wsctl came to.
type result struct {
	t        *testing.T
	args     []string
	out, err string
	code     int
}

// ctl runs wsctl, pointed at both regions.
func (w *world) ctl(args ...string) result {
	w.t.Helper()
	return w.ctlWith("", args...)
}

// ctlWith is ctl with something on standard input.
func (w *world) ctlWith(stdin string, args ...string) result {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(cluster.Binary(w.t, "./cmd/wsctl"), args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.dir, w.env(), strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	r := result{w.t, args, out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	if w.token != "" && (strings.Contains(r.out, w.token) || strings.Contains(r.err, w.token)) {
		w.t.Errorf("wsctl %q printed the token", args)
	}
	return r
}

// exits checks the exit code.
func (r result) exits(code int) result {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("wsctl %q exited with %d, expected %d\n%s%s", r.args, r.code, code, r.out, r.err)
	}
	return r
}

func (r result) must() result {
	r.t.Helper()
	return r.exits(0)
}

// json decodes the output.
func (r result) json(into any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.must().out), into); err != nil {
		r.t.Fatalf("wsctl %q: %v\n%s", r.args, err, r.out)
	}
}

// says checks that the output holds the words.
func (r result) says(words ...string) result {
	r.t.Helper()
	for _, word := range words {
		if !strings.Contains(r.out+r.err, word) {
			r.t.Errorf("wsctl %q does not say %q:\n%s%s", r.args, word, r.out, r.err)
		}
	}
	return r
}
