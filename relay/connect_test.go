package relay

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestOnlyATrustedProxyDecidesWhatIsTraced(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	w := newWorld(t)
	for _, c := range []struct {
		name      string
		node      docid.NodeID
		ratio     float64
		configure func(*Config)
		told      bool // the collector, of the trace of that name
	}{
		{"a trusted proxy wants it", "a", 0, trustLoopback, true},
		{"a client wants it", "b", 0, func(*Config) {}, false},
		{"a client is traced anyway", "c", 1, func(*Config) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var connects, named atomic.Int64
			collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				connects.Add(int64(strings.Count(string(body), `"`+admin.ConnectSpan+`"`)))
				named.Add(int64(strings.Count(string(body), trace)))
			}))
			defer collector.Close()
			tracer, err := admin.OpenTracer(admin.TracerConfig{Endpoint: collector.URL, Ratio: c.ratio, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			n := w.node("eu-central-1", c.node, c.configure, func(cfg *Config) { cfg.Traces = tracer })
			conn, _, err := dial(t, n.addr, "/todo", "garbage", http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
			if err != nil {
				t.Fatal(err)
			}
			closeOf(t, conn)
			tracer.Close()
			if (named.Load() > 0) != c.told || (connects.Load() > 0) != (c.told || c.ratio == 1) {
				t.Errorf("the collector was told of %d connects, and %d times of the trace that was named", connects.Load(), named.Load())
			}
		})
	}
}

func TestWhoWaitsForADocumentToOpenKeepsNobodyElseOut(t *testing.T) {
	w := newWorld(t)
	proxy := natstest.NewProxy(t, w.nats.URL)
	w.bus = proxy.URL
	n := w.node("eu-central-1", "a", func(c *Config) { c.Limits.Handshakes = 1 })
	token := w.token(authn.Subject{})
	open(t, n, "open", token)

	proxy.Cut() // longer than a handshake waits for its turn, no history answers
	var waits sync.WaitGroup
	waits.Go(func() {
		conn, _, err := dial(t, n.addr, "/stuck", token, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if code, _ := closeOf(t, conn); code != closecode.TryAgain {
			t.Errorf("the one that waited was closed with %d", code)
		}
	})
	defer proxy.Heal()
	defer waits.Wait()
	eventually(t, "somebody waits", func() bool { return n.docs.Len() == 2 })
	open(t, n, "open", token)
}
