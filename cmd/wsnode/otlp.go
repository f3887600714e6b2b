package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter posts spans to an OpenTelemetry collector: OTLP over HTTP in its JSON
// encoding, which all collectors take. The project's own exporter would add 11 MB to the
// program, for gRPC and protocol buffers (docs/operations.md#traces). What a collector does not
// take is dropped, which is said once, until it works again.
type exporter struct {
	url     string
	headers map[string]string
	log     *slog.Logger
	client  http.Client

	failing atomic.Bool
	dropped atomic.Int64
}

// tracesConfig says where traces go.
type tracesConfig struct {
	endpoint string            // of the collector, such as http://collector:4318; /v1/traces is added where there is no path
	headers  map[string]string // of requests, for collectors that want a key
	ratio    float64           // of the traces that this process begins, 0 to 1
	resource []attribute.KeyValue
	log      *slog.Logger
}

const (
	spanQueue   = 4096
	spanBatch   = 512
	sendEvery   = 2 * time.Second
	sendTimeout = 5 * time.Second
)

// newTraces makes a provider that sends spans in batches and in the background: clients
// never wait for a collector. Its Shutdown sends what is left.
func newTraces(c tracesConfig) (*sdktrace.TracerProvider, error) {
	u, err := url.Parse(c.endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q: expected the URL of a collector, such as http://127.0.0.1:4318", c.endpoint)
	}
	if strings.Trim(u.Path, "/") == "" {
		u = u.JoinPath("/v1/traces")
	}
	e := &exporter{url: u.String(), headers: c.headers, log: c.log, client: http.Client{Timeout: sendTimeout}}
	return sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.ratio))),
		sdktrace.WithResource(resource.NewSchemaless(c.resource...)),
		sdktrace.WithBatcher(e,
			sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithMaxExportBatchSize(spanBatch),
			sdktrace.WithBatchTimeout(sendEvery), sdktrace.WithExportTimeout(sendTimeout)),
	), nil
}

// shutDown sends what is left, for a moment.
func shutDown(traces *sdktrace.TracerProvider) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = traces.Shutdown(ctx) // what the collector does not take is dropped
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	if len(batch) == 0 {
		return nil
	}
	err := e.post(ctx, batch)
	if err != nil {
		e.dropped.Add(int64(len(batch)))
	}
	switch failed := err != nil; {
	case failed && !e.failing.Swap(true):
		e.log.Warn("traces are not taken and dropped", "err", err)
	case !failed && e.failing.Swap(false):
		e.log.Info("traces are taken again", "dropped", e.dropped.Swap(0))
	}
	return nil // it has been said
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *exporter) post(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	body, err := json.Marshal(encodeSpans(batch))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range e.headers {
		request.Header.Set(name, value)
	}
	answer, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection is used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s says %s", e.url, answer.Status)
	}
	return nil
}

// object is a JSON object of the OTLP specification, which maps its protocol
// buffers to JSON: ids in hexadecimal, 64-bit numbers as strings.
type object = map[string]any

// statusError is the specification's number of codes.Error.
const statusError = 2

// encodeSpans spells spans of one process, which have one resource and one scope.
func encodeSpans(batch []sdktrace.ReadOnlySpan) object {
	spans := make([]any, len(batch))
	for i, s := range batch {
		span := object{
			"traceId": s.SpanContext().TraceID().String(), "spanId": s.SpanContext().SpanID().String(), "name": s.Name(),
			"kind":              int(s.SpanKind()), // the numbers are the specification's
			"startTimeUnixNano": strconv.FormatInt(s.StartTime().UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.EndTime().UnixNano(), 10),
			"attributes": encodeAttributes(s.Attributes()), "status": object{},
		}
		if s.Parent().SpanID().IsValid() {
			span["parentSpanId"] = s.Parent().SpanID().String()
		}
		if s.Status().Code == codes.Error {
			span["status"] = object{"code": statusError, "message": s.Status().Description}
		}
		spans[i] = span
	}
	return object{"resourceSpans": []any{object{
		"resource":   object{"attributes": encodeAttributes(batch[0].Resource().Attributes())},
		"scopeSpans": []any{object{"scope": object{"name": batch[0].InstrumentationScope().Name}, "spans": spans}},
	}}}
}

func encodeAttributes(attributes []attribute.KeyValue) []any {
	list := make([]any, 0, len(attributes))
	for _, a := range attributes {
		list = append(list, object{"key": string(a.Key), "value": object{"stringValue": a.Value.String()}})
	}
	return list
}
