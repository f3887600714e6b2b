package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { http.DefaultClient.CloseIdleConnections() }))
}

// testServer is an admin listener on a free port.
type testServer struct {
	*Server
	base string
}

func serveTest(t *testing.T, c Config) testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	c.Log = slog.New(slog.DiscardHandler)
	s := Serve(l, c)
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return testServer{s, "http://" + l.Addr().String()}
}

func (s testServer) get(t *testing.T, path string) (int, string) {
	t.Helper()
	answer, err := http.Get(s.base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestANodeIsReadyOnceItTakesClientsAndLivesMeanwhile(t *testing.T) {
	var why error
	s := serveTest(t, Config{Ready: func() error { return why }})
	for _, reason := range []error{errors.New("starting"), nil, errors.New("draining")} {
		why = reason
		status, body := s.get(t, "/readyz")
		if reason == nil && status != http.StatusOK || reason != nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, reason.Error())) {
			t.Errorf("%v: /readyz says %d %q", reason, status, body)
		}
		if status, _ := s.get(t, "/livez"); status != http.StatusOK {
			t.Errorf("%v: /livez says %d", reason, status)
		}
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	for _, on := range []bool{false, true} {
		status, _ := serveTest(t, Config{Profiles: on}).get(t, "/debug/pprof/goroutine?debug=1")
		if (status == http.StatusOK) != on {
			t.Errorf("profiles %v: %d", on, status)
		}
	}
}

func TestMetricsHoldToTheConventions(t *testing.T) {
	s := serveTest(t, Config{})
	m := NewMetrics(s.Registerer(), "n1", "eu-central-1")
	m.Watch("v1.2.3", 1, func() Figures {
		return Figures{Connections: 3, Handshakes: map[string]int64{"admitted": 7}, Rooms: RoomFigures{AwarenessDropped: map[string]int64{"too_large": 2}}, Registries: []RegistryFigures{{"aws-eu-west-1", RegistryCounts{Reachable: true}}}}
	})
	m.Durable(3 * time.Millisecond)
	m.Registry("renew", time.Millisecond, true)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	_, body := s.get(t, "/metrics")
	for _, line := range []string{
		`wsnode_connections{node="n1",region="eu-central-1"} 3`,
		`wsnode_awareness_dropped_total{node="n1",reason="too_large",region="eu-central-1"} 2`,
		`wsnode_handshakes_total{node="n1",outcome="admitted",region="eu-central-1"} 7`,
		`wsnode_registry_up{license="aws-eu-west-1",node="n1",region="eu-central-1"} 1`,
		`wsnode_durable_seconds_count{node="n1",region="eu-central-1"} 1`,
		`wsnode_registry_failures_total{node="n1",operation="renew",region="eu-central-1"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !regexp.MustCompile(`wsnode_build_info\{go_version="go[^"]+",node="n1",protocol="1",region="eu-central-1",version="v1.2.3"\} 1`).MatchString(body) {
		t.Error("no build info")
	}
}

func TestTheMetricsOfANodeEndWithItAndComeBack(t *testing.T) {
	s := serveTest(t, Config{})
	lives := func() int {
		_, body := s.get(t, "/metrics")
		return strings.Count(body, `wsnode_connections{node="n1"`)
	}
	figures := func() Figures { return Figures{} }
	first := NewMetrics(s.Registerer(), "n1", "eu")
	first.Watch("v1", 1, figures)
	first.Close()
	if lives() != 0 {
		t.Error("a node that ended is still shown")
	}
	NewMetrics(s.Registerer(), "n1", "eu").Watch("v1", 1, figures)
	NewMetrics(s.Registerer(), "n1", "eu").Watch("v1", 1, figures) // the one before crashed
	if lives() != 1 {
		t.Errorf("the node is shown %d times", lives())
	}
	var none *Metrics
	none.Watch("v1", 1, figures)
	none.Durable(1)
	none.Close()
}

func TestTheNumberOfSeriesDoesNotGrowWithClients(t *testing.T) {
	s := serveTest(t, Config{})
	f := Figures{Handshakes: map[string]int64{"admitted": 1}}
	NewMetrics(s.Registerer(), "n1", "eu").Watch("v1", 1, func() Figures { return f })
	_, before := s.get(t, "/metrics")
	f.Connections, f.Documents, f.Rooms.Edits = 1e6, 1e6, 1e12
	_, after := s.get(t, "/metrics")
	if strings.Count(before, "\nwsnode_") != strings.Count(after, "\nwsnode_") {
		t.Error("more clients make more series")
	}
}

func TestRepeatsAreCountedInsteadOfWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(NewRepeats(slog.NewTextHandler(&out, nil), "session ended"))
		lines := func(message string) int { return strings.Count(out.String(), fmt.Sprintf("msg=%q", message)) }
		for i := range 1000 {
			log.With("node", i).Info("refused badly", "remote", i)
			log.Info("session ended", "session", i)
		}
		log.Warn("refused badly") // another level is another message
		if got := lines("refused badly"); got != repeatBurst+1 {
			t.Errorf("%d of 1000 refusals were written, expected %d and one warning", got, repeatBurst)
		}
		if got := lines("session ended"); got != 1000 {
			t.Errorf("%d of 1000 ended sessions were written", got)
		}
		out.Reset()
		time.Sleep(repeatEvery)
		log.Info("refused badly")
		if want := fmt.Sprintf("repeats=%d", 1000-repeatBurst); !strings.Contains(out.String(), want) {
			t.Errorf("%q does not say %s", out.String(), want)
		}
		out.Reset()
		time.Sleep(time.Hour)
		for range 2 * repeatBurst {
			log.Info("refused badly")
		}
		if got := lines("refused badly"); got != repeatBurst {
			t.Errorf("%d were written after a quiet hour, expected %d", got, repeatBurst)
		}
	})
}
