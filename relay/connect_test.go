package relay

import (
	"net/http"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
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
			spans := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans),
				sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.ratio))))
			n := w.node("eu-central-1", c.node, c.configure, func(cfg *Config) { cfg.tracer = newTracer(provider) })
			conn, _, err := dial(t, n.addr, "/todo", "garbage", http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
			if err != nil {
				t.Fatal(err)
			}
			closeOf(t, conn)
			named, connects := 0, 0
			for _, s := range spans.Ended() {
				if s.SpanContext().TraceID().String() == trace {
					named++
				}
				if s.Name() == ConnectSpan {
					connects++
				}
			}
			if (named > 0) != c.told || (connects > 0) != (c.told || c.ratio == 1) {
				t.Errorf("%d connects were traced, %d spans in the trace that was named", connects, named)
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
