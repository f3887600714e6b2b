package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/natsd"
)

// A node that tells its metrics, logs and traces to what its program has already.
func ExampleStart_observed() {
	ctx := context.Background()
	var logs strings.Builder
	logger := slog.New(slog.NewTextHandler(&logs, nil)).With("program", "mine")
	metrics := prometheus.NewRegistry()
	spans := tracetest.NewSpanRecorder()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))

	nats, err := natsd.Start(natsd.Config{Name: "observed", Listen: "127.0.0.1:0"})
	check(err)
	defer nats.Close()
	verifier, err := authn.New(authn.Config{KeySet: []byte(`{"keys":[]}`)})
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	node, err := relay.Start(ctx, relay.Options{
		Config:         relay.Config{Region: "eu-central-1", Node: "node-1", Verifier: verifier, Log: logger},
		PublicURL:      "ws://" + listener.Addr().String(),
		Listener:       listener,
		NATS:           bus.ConnectConfig{URL: nats.URL()},
		Registries:     map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: nats.URL(), Create: true}},
		Registerer:     metrics,
		TracerProvider: traces,
	})
	check(err)
	conn, _, err := websocket.Dial(ctx, "ws://"+listener.Addr().String()+"/todo?token=garbage", nil)
	check(err)
	_, _, err = conn.Read(ctx)
	fmt.Println("the client:", websocket.CloseStatus(err))
	families, err := metrics.Gather()
	check(err)
	check(node.Close(ctx))

	fmt.Println("metrics:", len(families) > 0)
	fmt.Println("logs:", strings.Contains(logs.String(), "program=mine"))
	for _, s := range spans.Ended() {
		fmt.Println("span:", s.Name(), "-", s.Status().Code)
	}
	// Output:
	// the client: StatusCode(4002)
	// metrics: true
	// logs: true
	// span: verify token - Error
	// span: connect - Error
}
