package relay

import (
	"context"
	"errors"
	"net/http"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// connectSpans does to spans what a connect does.
func connectSpans(ctx context.Context, tracer trace.Tracer, h http.Header) {
	s := startSpan(ctx, tracer, h, true)
	for _, step := range []string{"verify token", "reserve place", "enter document"} {
		s.child(step).end(nil)
	}
	for _, key := range []string{"wsnode.outcome", "wsnode.tenant", "wsnode.app", "wsnode.document"} {
		s.set(key, "x")
	}
	s.end(errors.ErrUnsupported)
}

func TestConnectsThatAreNotTracedAllocateNothingForIt(t *testing.T) {
	h := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	if allocations := testing.AllocsPerRun(100, func() { connectSpans(t.Context(), nil, h) }); allocations != 0 {
		t.Errorf("%v allocations without a tracer", allocations)
	}
}

func BenchmarkSpans(b *testing.B) {
	h := http.Header{}
	for name, ratio := range map[string]float64{"off": -1, "none sampled": 0, "all sampled": 1} {
		b.Run(name, func(b *testing.B) {
			var tracer trace.Tracer
			if ratio >= 0 {
				tracer = newTracer(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.TraceIDRatioBased(ratio))))
			}
			b.ReportAllocs()
			for b.Loop() {
				connectSpans(b.Context(), tracer, h)
			}
		})
	}
}
