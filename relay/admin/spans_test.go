package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
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

func openTracer(t *testing.T, c *collector, ratio float64) *Tracer {
	t.Helper()
	tracer, err := OpenTracer(TracerConfig{
		Endpoint: c.URL, Headers: map[string]string{"X-Key": "secret"}, Ratio: ratio, Node: "n1", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func TestAConnectIsOneTraceOfItsSteps(t *testing.T) {
	c := startCollector(t)
	tracer := openTracer(t, c, 1)
	root := tracer.Start(ConnectSpan, "")
	child := root.Child("verify token")
	child.End(errors.New("expired"))
	root.Set("wsnode.outcome", "invalid_token")
	root.End(nil)
	tracer.Close()
	if len(c.spans) != 2 || c.key != "secret" {
		t.Fatalf("%+v", c.spans)
	}
	step, connect := c.spans[0], c.spans[1]
	if step.TraceID != connect.TraceID || step.ParentSpanID != connect.SpanID || connect.ParentSpanID != "" || len(step.TraceID) != 32 || len(step.SpanID) != 16 {
		t.Errorf("%+v %+v", step, connect)
	}
	if step.Status.Code != statusError || step.Status.Message != "expired" || connect.Status.Code != 0 || connect.Kind != kindServer || step.Kind != kindInternal {
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
	tracer := openTracer(t, c, 0) // what the proxy decided counts
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	tracer.Start("taken", "00-"+trace+"-"+parent+"-01").End(nil)
	for name, header := range map[string]string{
		"not sampled": "00-" + trace + "-" + parent + "-00", "none": "", "short": "00-12-34-01", "not hexadecimal": "00-" + strings.Repeat("x", 32) + "-" + parent + "-01",
		"zeros": "00-" + strings.Repeat("0", 32) + "-" + parent + "-01",
	} {
		if s := tracer.Start(name, header); s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	tracer.Close()
	if len(c.spans) != 1 || c.spans[0].TraceID != trace || c.spans[0].ParentSpanID != parent {
		t.Errorf("%+v", c.spans)
	}
}

func TestACollectorThatFailsHoldsNobodyUp(t *testing.T) {
	c := startCollector(t)
	c.status = http.StatusServiceUnavailable
	tracer := openTracer(t, c, 1)
	c.mu.Lock() // it answers nobody before all spans have ended
	for range 3 * spanQueue {
		tracer.Start(ConnectSpan, "").End(nil)
	}
	c.mu.Unlock()
	tracer.Close()
	if tracer.dropped.Load() == 0 || len(c.spans) != 0 {
		t.Errorf("%d dropped, %d taken", tracer.dropped.Load(), len(c.spans))
	}
	var none *Tracer
	none.Start(ConnectSpan, "").Child("x").End(nil)
	none.Start(ConnectSpan, "").Set("a", "b")
	none.Close()
}

func TestTheCollectorsAddressIsChecked(t *testing.T) {
	for _, endpoint := range []string{"", "collector:4318", "ftp://x", "http://"} {
		if _, err := OpenTracer(TracerConfig{Endpoint: endpoint}); err == nil {
			t.Errorf("%q is taken", endpoint)
		}
	}
	if _, err := OpenTracer(TracerConfig{Endpoint: "http://127.0.0.1:1", Ratio: 2}); err == nil {
		t.Error("a ratio of 2 is taken")
	}
}
