package relay

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// ConnectSpan is the name of the span of a whole connect; those of its steps are
// its children.
const ConnectSpan = "connect"

// scope is by which name the node's spans are known to a tracer provider.
const scope = "github.com/wsnode/wsnode/relay"

// span is a stretch of a connect in a trace. The nil span does nothing and costs nothing:
// it stands for a connect that is not traced. A span is used by one goroutine at a time.
type span struct {
	tracer trace.Tracer
	ctx    context.Context // of which children are children
	span   trace.Span
}

// newTracer is the node's tracer; nil without a provider.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer(scope)
}

// startSpan begins the span of a connect, in the trace that the request's header names if
// the header is to be believed. Without a tracer it is nil.
func startSpan(ctx context.Context, tracer trace.Tracer, h http.Header, believed bool) *span {
	if tracer == nil {
		return nil
	}
	if believed {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
	}
	return newSpan(ctx, tracer, ConnectSpan, trace.SpanKindServer)
}

func newSpan(ctx context.Context, tracer trace.Tracer, name string, kind trace.SpanKind) *span {
	ctx, s := tracer.Start(ctx, name, trace.WithSpanKind(kind))
	if !s.IsRecording() {
		s.End()
		return nil
	}
	return &span{tracer, ctx, s}
}

// child begins a span within this one.
func (s *span) child(name string) *span {
	if s == nil {
		return nil
	}
	return newSpan(s.ctx, s.tracer, name, trace.SpanKindInternal)
}

// set notes something about the span. Values must hold no secrets.
func (s *span) set(key, value string) {
	if s != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// end ends the span. err says what went wrong; nil: nothing.
func (s *span) end(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}
