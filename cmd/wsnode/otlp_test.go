package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/wsnode/wsnode/relay"
)

// collector takes spans as an OpenTelemetry collector does.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	key    string
	spans  []collected
}

type collected struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	StartTimeUnixNano, EndTimeUnixNano  int64 `json:",string"`
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue string }
	}
	Status struct {
		Code    int
		Message string
	}
}

func startCollector(t *testing.T) *collector {
	c := &collector{status: http.StatusOK}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			ResourceSpans []struct {
				Resource struct {
					Attributes []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
				ScopeSpans []struct{ Spans []collected }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.key = r.Header.Get("X-Key")
		if c.status == http.StatusOK {
			c.spans = append(c.spans, body.ResourceSpans[0].ScopeSpans[0].Spans...)
			if a := body.ResourceSpans[0].Resource.Attributes[0]; a.Key != "service.name" || a.Value.StringValue != "wsnode" {
				t.Errorf("the service is %+v", a)
			}
		}
		w.WriteHeader(c.status)
	}))
	t.Cleanup(c.Close)
	return c
}

func openTraces(t *testing.T, c *collector, ratio float64) (*sdktrace.TracerProvider, trace.Tracer) {
	t.Helper()
	provider, err := newTraces(tracesConfig{
		endpoint: c.URL, headers: map[string]string{"X-Key": "secret"}, ratio: ratio, log: slog.New(slog.DiscardHandler),
		resource: []attribute.KeyValue{attribute.String("service.name", "wsnode")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return provider, provider.Tracer("wsnode")
}

// sent waits until the collector has been told of all spans, or has refused them.
func sent(t *testing.T, provider *sdktrace.TracerProvider) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTheCollectorIsToldOfSpansAndWhoseTheyAre(t *testing.T) {
	c := startCollector(t)
	provider, tracer := openTraces(t, c, 1)
	ctx, root := tracer.Start(t.Context(), relay.ConnectSpan, trace.WithSpanKind(trace.SpanKindServer))
	_, child := tracer.Start(ctx, "verify token")
	child.SetStatus(codes.Error, "expired")
	child.End()
	root.SetAttributes(attribute.String("wsnode.outcome", "invalid_token"))
	root.End()
	sent(t, provider)
	if len(c.spans) != 2 || c.key != "secret" {
		t.Fatalf("%+v", c.spans)
	}
	step, connect := c.spans[0], c.spans[1]
	if step.TraceID != connect.TraceID || step.ParentSpanID != connect.SpanID || connect.ParentSpanID != "" || len(step.TraceID) != 32 || len(step.SpanID) != 16 {
		t.Errorf("%+v %+v", step, connect)
	}
	if step.Status.Code != statusError || step.Status.Message != "expired" || connect.Status.Code != 0 || connect.Kind != 2 || step.Kind != 1 {
		t.Errorf("%+v %+v", step, connect)
	}
	if connect.StartTimeUnixNano > step.StartTimeUnixNano || step.EndTimeUnixNano > connect.EndTimeUnixNano || step.StartTimeUnixNano == 0 {
		t.Errorf("%+v %+v", step, connect)
	}
	if len(connect.Attributes) != 1 || connect.Attributes[0].Value.StringValue != "invalid_token" {
		t.Errorf("%+v", connect.Attributes)
	}
}

func TestATraceThatAProxyBeganGoesOn(t *testing.T) {
	c := startCollector(t)
	provider, tracer := openTraces(t, c, 0) // what the proxy decided counts
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	start := func(name, header string) {
		ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.HeaderCarrier(http.Header{"Traceparent": {header}}))
		_, s := tracer.Start(ctx, name)
		s.End()
	}
	start("taken", "00-"+id+"-"+parent+"-01")
	start("not sampled", "00-"+id+"-"+parent+"-00")
	start("none", "")
	start("no header", "00-12-34-01")
	sent(t, provider)
	if len(c.spans) != 1 || c.spans[0].TraceID != id || c.spans[0].ParentSpanID != parent {
		t.Errorf("%+v", c.spans)
	}
}

func TestACollectorThatFailsHoldsNobodyUp(t *testing.T) {
	c := startCollector(t)
	c.status = http.StatusServiceUnavailable
	provider, tracer := openTraces(t, c, 1)
	c.mu.Lock() // it answers nobody before all spans have ended
	for range 3 * spanQueue {
		_, s := tracer.Start(t.Context(), relay.ConnectSpan)
		s.End()
	}
	c.mu.Unlock()
	sent(t, provider)
	if len(c.spans) != 0 {
		t.Errorf("%d taken", len(c.spans))
	}
}

func TestTheCollectorsAddressIsChecked(t *testing.T) {
	for _, endpoint := range []string{"", "collector:4318", "ftp://x", "http://"} {
		if _, err := newTraces(tracesConfig{endpoint: endpoint}); err == nil {
			t.Errorf("%q is taken", endpoint)
		}
	}
}
