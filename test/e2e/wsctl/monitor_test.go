package wsctl

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

func TestConnectsAreTracedByACollector(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
	}))
	t.Cleanup(collector.Close)
	keys := issuer.New(t)
	node := cluster.Serve{
		Name: "traced", Region: "eu-central-1", JWKS: keys.JWKS,
		Flags: []string{"--otlp-endpoint", collector.URL, "--trusted-proxy", "127.0.0.0/8", "--admin-listen", "off"},
	}.StartHealthy(t)
	token := keys.Token(nil)
	header := http.Header{
		"Authorization": {"Bearer " + token}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}
	cluster.Shake(t, node.Addr, "/todo", header)
	select {
	case body := <-bodies:
		for _, word := range []string{"4bf92f3577b34da6a3ce929d0e0e4736", "verify token", "enter document", "admitted", "acme"} {
			if !strings.Contains(body, word) {
				t.Errorf("the collector is not told of %q: %s", word, body)
			}
		}
		if strings.Contains(body, token) {
			t.Error("the collector is told the token")
		}
	case <-time.After(wait.Patience):
		t.Fatal("the collector is told nothing")
	}
}

func TestTheAdminListenerShowsTheNodesFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.join(w.eu1, "todo", "")
	for i := range 40 {
		c.Insert(-1, fmt.Sprint(i))
	}
	w.join(w.eu2, "todo", "").WaitText(c.State().Text)
	cluster.Shake(t, w.eu1.Addr, "/todo", nil)
	read := func() string { return string(cluster.Get(t, w.admin["eu-1"]+"/metrics", "").Body) }
	// A session joins before its handshake is counted, and an acknowledgement comes when
	// it comes: each figure is awaited.
	for _, line := range []string{
		`wsnode_connections{node="eu-1",region="eu-central-1"} 1`,
		`wsnode_documents{node="eu-1",region="eu-central-1"} 1`,
		`wsnode_handshakes_total{node="eu-1",outcome="missing_token",region="eu-central-1"} 1`,
		`wsnode_handshakes_total{node="eu-1",outcome="redirect",region="eu-central-1"} 0`,
		`wsnode_registry_up{license="aws-us-east-1",node="eu-1",region="eu-central-1"} 1`,
		`wsnode_nats_up{node="eu-1",region="eu-central-1"} 1`,
		`wsnode_history_up{node="eu-1",region="eu-central-1"} 1`,
	} {
		wait.Until(t, "the line "+line, func() bool { return strings.Contains(read(), line+"\n") })
	}
	metrics := read()
	// What dashboards and alerts ask for: a misspelt outcome would never fire.
	outcomes := map[string]bool{}
	for _, m := range regexp.MustCompile(`wsnode_handshakes_total\{[^}]*outcome="(\w+)"`).FindAllStringSubmatch(metrics, -1) {
		outcomes[m[1]] = true
	}
	told, asked := w.outcomes()
	for outcome := range outcomes {
		if !told[outcome] {
			t.Errorf("docs/operations.md does not tell of outcome %s", outcome)
		}
	}
	for outcome := range told {
		if !outcomes[outcome] {
			t.Errorf("docs/operations.md tells of outcome %s, which is not", outcome)
		}
	}
	for outcome := range asked {
		if !outcomes[outcome] {
			t.Errorf("an alert asks for outcome %s, which is not", outcome)
		}
	}
	for _, name := range []string{
		"wsnode_durable_seconds_count", "wsnode_fanout_local_seconds_count", "wsnode_fanout_remote_seconds_count", "wsnode_edits_received_total", "wsnode_appends_total",
	} {
		counted := regexp.MustCompile(`(?m)^` + name + `\{node="eu-1",region="eu-central-1"\} [1-9]`)
		wait.Until(t, name+" counts something", func() bool { return counted.MatchString(read()) })
	}
	if a := cluster.Get(t, w.admin["eu-1"]+"/debug/pprof/goroutine?debug=1", ""); a.Status != http.StatusOK {
		t.Errorf("profiles: %d", a.Status)
	}
	if a := cluster.Get(t, w.eu1.HTTP()+"/metrics", ""); a.Status == http.StatusOK {
		t.Error("clients can read the metrics")
	}
}

// outcomes are the outcomes of handshakes that docs/operations.md tells of, and
// those that alert rules ask for.
func (w *world) outcomes() (told, asked map[string]bool) {
	w.t.Helper()
	told, asked = map[string]bool{}, map[string]bool{}
	for file, into := range map[string]map[string]bool{"docs/operations.md": told, "deploy/prometheus/alerts.yaml": asked} {
		text, err := os.ReadFile(filepath.Join(cluster.Root(), filepath.FromSlash(file)))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?:`wsnode_handshakes_total\\{outcome\\}` \\| (.*) \\||outcome=~\"([^\"]*)\")").FindAllStringSubmatch(string(text), -1) {
			for _, word := range regexp.MustCompile(`\w+`).FindAllString(m[1]+m[2], -1) {
				into[word] = true
			}
		}
		if len(into) < 3 {
			w.t.Errorf("%s names only the outcomes %v", file, into)
		}
	}
	return told, asked
}
