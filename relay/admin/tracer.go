package admin

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TracerConfig says where spans go. It is OTLP over HTTP in its JSON encoding, which
// all collectors take, written here in a page: the OpenTelemetry SDK with its
// exporter brings gRPC along and makes the program a third larger, for one kind of
// span.
type TracerConfig struct {
	Endpoint string            // of the collector, such as http://collector:4318; /v1/traces is added where there is no path
	Headers  map[string]string // of requests, for collectors that want a key
	Ratio    float64           // of the traces that this process begins, 0 to 1
	Node     string
	Region   string
	Version  string
	Log      *slog.Logger
}

// Tracer sends spans to a collector, in batches and in the background. What the
// collector does not take is dropped: clients never wait for it. The methods of a
// nil Tracer do nothing.
type Tracer struct {
	ratio    float64
	url      string
	headers  map[string]string
	resource []any
	log      *slog.Logger
	client   http.Client
	ended    chan *Span
	dropped  atomic.Int64
	failing  bool // owned by run

	stop    context.CancelFunc
	running sync.WaitGroup
}

const (
	spanQueue   = 4096
	spanBatch   = 512
	sendEvery   = 2 * time.Second
	sendTimeout = 5 * time.Second
)

// OpenTracer starts to send spans. Close it when done.
func OpenTracer(c TracerConfig) (*Tracer, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q: expected the URL of a collector, such as http://127.0.0.1:4318", c.Endpoint)
	}
	if strings.Trim(u.Path, "/") == "" {
		u = u.JoinPath("/v1/traces")
	}
	if c.Ratio < 0 || c.Ratio > 1 {
		return nil, fmt.Errorf("a share of %g traces: expected 0 to 1", c.Ratio)
	}
	t := &Tracer{
		ratio: c.Ratio, url: u.String(), headers: c.Headers, log: c.Log, client: http.Client{Timeout: sendTimeout}, ended: make(chan *Span, spanQueue),
		resource: attributesJSON([]attribute{
			{"service.name", "wsnode"}, {"service.version", c.Version}, {"service.instance.id", c.Node}, {"wsnode.region", c.Region},
		}),
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.running.Go(func() { t.run(ctx) })
	return t, nil
}

// Close sends what is left, for a moment, and ends.
func (t *Tracer) Close() {
	if t != nil {
		t.stop()
		t.running.Wait()
		t.client.CloseIdleConnections()
	}
}

func (t *Tracer) run(ctx context.Context) {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	var batch []*Span
	send := func(ctx context.Context) {
		if len(batch) > 0 {
			t.send(ctx, batch)
			batch = batch[:0]
		}
	}
	for {
		select {
		case s := <-t.ended:
			if batch = append(batch, s); len(batch) == spanBatch {
				send(ctx)
			}
		case <-tick.C:
			send(ctx)
		case <-ctx.Done():
			for len(t.ended) > 0 && len(batch) < spanBatch {
				batch = append(batch, <-t.ended)
			}
			last, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			send(last)
			return
		}
	}
}

// send posts a batch. A failure is said once, until it works again.
func (t *Tracer) send(ctx context.Context, batch []*Span) {
	err := t.post(ctx, batch)
	switch {
	case err != nil && !t.failing:
		t.log.Warn("traces are not taken and dropped", "err", err)
	case err == nil && t.failing:
		t.log.Info("traces are taken again", "dropped", t.dropped.Swap(0))
	}
	t.failing = err != nil
	if err != nil {
		t.dropped.Add(int64(len(batch)))
	}
}

func (t *Tracer) post(ctx context.Context, batch []*Span) error {
	body, err := json.Marshal(t.encode(batch))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range t.headers {
		request.Header.Set(name, value)
	}
	answer, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection is used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s says %s", t.url, answer.Status)
	}
	return nil
}

// object is a JSON object of the OTLP specification, which maps its protocol
// buffers to JSON: ids in hexadecimal, 64-bit numbers as strings.
type object = map[string]any

// The numbers of the specification.
const (
	kindInternal = 1
	kindServer   = 2
	statusError  = 2
)

func (t *Tracer) encode(batch []*Span) object {
	spans := make([]any, len(batch))
	for i, s := range batch {
		span := object{
			"traceId": hex.EncodeToString(s.trace[:]), "spanId": hex.EncodeToString(s.id[:]), "name": s.name, "kind": kindInternal,
			"startTimeUnixNano": strconv.FormatInt(s.start.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.end.UnixNano(), 10),
			"attributes": attributesJSON(s.attributes), "status": object{},
		}
		if s.parent != ([8]byte{}) {
			span["parentSpanId"] = hex.EncodeToString(s.parent[:])
		}
		if s.name == ConnectSpan {
			span["kind"] = kindServer
		}
		if s.failure != "" {
			span["status"] = object{"code": statusError, "message": s.failure}
		}
		spans[i] = span
	}
	return object{"resourceSpans": []any{object{
		"resource":   object{"attributes": t.resource},
		"scopeSpans": []any{object{"scope": object{"name": "wsnode"}, "spans": spans}},
	}}}
}

// ConnectSpan is the name of the span of a whole connect.
const ConnectSpan = "connect"

func attributesJSON(attributes []attribute) []any {
	list := make([]any, 0, len(attributes))
	for _, a := range attributes {
		list = append(list, object{"key": a.key, "value": object{"stringValue": a.value}})
	}
	return list
}
