package main

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/version"
)

// adminFlags are the settings of the listener that monitoring uses.
type adminFlags struct {
	listen   string
	profiles bool
	tenants  int
	set      *pflag.FlagSet

	otlp        string
	otlpHeaders []string
	otlpRatio   float64
}

// adminOff switches the listener off.
const adminOff = "off"

func (f *adminFlags) register(fl *pflag.FlagSet, listen string) {
	f.set = fl
	fl.StringVar(&f.listen, "admin-listen", listen, "address for /metrics, /livez and /readyz, which are not for clients; "+adminOff+" for none")
	fl.BoolVar(&f.profiles, "pprof", false, "serve profiles at /debug/pprof/ of the admin listener")
	fl.IntVar(&f.tenants, "metrics-tenants", 0, "how many tenants the metrics tell apart, the busiest first; 0: none")
}

// registerTraces is for a process that is one node.
func (f *adminFlags) registerTraces(fl *pflag.FlagSet) {
	fl.StringVar(&f.otlp, "otlp-endpoint", "", "URL of an OpenTelemetry collector that takes traces of connects, such as http://127.0.0.1:4318")
	fl.StringArrayVar(&f.otlpHeaders, "otlp-header", nil, "header of requests to the collector, as name=value; repeat for more")
	fl.Float64Var(&f.otlpRatio, "otlp-ratio", 1, "share of the connects that are traced, 0 to 1; a trusted proxy's decision goes before it")
}

// traces is where traces of connects go; nil if there is nobody to send them to. Closed
// when the node is, by its Shutdown.
func (f *adminFlags) traces(c *relay.Options) (*sdktrace.TracerProvider, error) {
	if f.otlpRatio < 0 || f.otlpRatio > 1 {
		return nil, wrongFlag("otlp-ratio", "%v: expected 0 to 1", f.otlpRatio)
	}
	if f.otlp == "" {
		return nil, nil
	}
	config := tracesConfig{
		endpoint: f.otlp, headers: map[string]string{}, ratio: f.otlpRatio, log: c.Config.Log,
		resource: []attribute.KeyValue{
			attribute.String("service.name", "wsnode"), attribute.String("service.version", version.Read().Version),
			attribute.String("service.instance.id", string(c.Config.Node)), attribute.String("wsnode.region", string(c.Config.Region)),
		},
	}
	for _, header := range f.otlpHeaders {
		name, value, ok := strings.Cut(header, "=")
		if !ok || name == "" {
			return nil, wrongFlag("otlp-header", "expected name=value")
		}
		config.headers[name] = value
	}
	traces, err := newTraces(config)
	if err != nil {
		return nil, wrongFlag("otlp-endpoint", "%v", err)
	}
	return traces, nil
}

// readiness is why a process takes no clients, nil once it does.
type readiness struct{ node atomic.Pointer[relay.Node] }

var (
	errStarting = errors.New("starting")
	errDraining = errors.New("draining")
)

func (r *readiness) check() error {
	n := r.node.Load()
	if n == nil {
		return errStarting
	}
	if n.Draining() {
		return errDraining
	}
	if err := n.Ended(); err != nil {
		return err
	}
	return n.Apart()
}

// open serves monitoring; nil if it is switched off. The default address may be
// taken by another node of this machine, which is no reason not to run.
func (f *adminFlags) open(ready func() error, log *slog.Logger) (*admin.Server, error) {
	if f.tenants < 0 {
		return nil, wrongFlag("metrics-tenants", "%d: expected 0 or more", f.tenants)
	}
	off := f.listen == adminOff || f.listen == ""
	if f.profiles && off {
		return nil, wrongFlag("pprof", "is served by the admin listener: expected an address as --admin-listen beside it")
	}
	if off {
		return nil, nil
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		if f.set.Changed("admin-listen") {
			return nil, wrongFlag("admin-listen", "%v", err)
		}
		log.Warn("no metrics: the default address is taken; choose one by --admin-listen", "address", f.listen, "err", err)
		return nil, nil
	}
	return admin.Serve(l, admin.Config{Ready: ready, Profiles: f.profiles, Log: log}), nil
}

// newMetrics makes the metrics of one node; nil without a listener.
func newMetrics(s *admin.Server, node docid.NodeID, region docid.Region) *admin.Metrics {
	if s == nil {
		return nil
	}
	return admin.NewMetrics(s.Registerer(), node, region)
}
