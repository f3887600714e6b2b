// Package admin is what monitoring sees of a node: metrics for Prometheus,
// liveness, readiness and profiles, on a listener of their own; and a log handler
// that keeps repeats from flooding the logs.
package admin

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsnode/wsnode/docid"
)

// Metrics are the metrics of one node. The methods of a nil *Metrics do nothing.
// They may be called concurrently.
type Metrics struct {
	into prometheus.Registerer
	all  []prometheus.Collector

	durable      prometheus.Histogram
	answered     prometheus.Histogram
	fanoutLocal  prometheus.Histogram
	fanoutRemote prometheus.Histogram
	handshake    prometheus.Histogram
	registry     *prometheus.HistogramVec
	failures     *prometheus.CounterVec
	stores       *storeMetrics
}

// Buckets reach from what was measured on loopback to the deadlines.
var (
	fast = prometheus.ExponentialBuckets(50e-6, 2, 17)  // 50 µs to 3.3 s
	slow = prometheus.ExponentialBuckets(0.5e-3, 2, 15) // 0.5 ms to 8.2 s
)

// NewMetrics registers the metrics of a node. All of them have the labels node
// and region. Close takes them away again.
func NewMetrics(into prometheus.Registerer, node docid.NodeID, region docid.Region) *Metrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: namespace + name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		into:         prometheus.WrapRegistererWith(prometheus.Labels{"node": string(node), "region": string(region)}, into),
		answered:     histogram("ack_seconds", "Time from a client's question whether all that it sent is saved until it was told so.", slow),
		durable:      histogram("durable_seconds", "Time from an edit's publishing until the history has acknowledged it.", slow),
		fanoutLocal:  histogram("fanout_local_seconds", "Time from reading an edit until it was handed to all other sessions of this node. Every 16th edit.", fast),
		fanoutRemote: histogram("fanout_remote_seconds", "Half the round trip of a probe to another node of the region, over NATS. Every few seconds.", fast),
		handshake:    histogram("handshake_seconds", "Time from a handshake's arrival until it was admitted or refused.", slow),
		registry: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "registry_operation_seconds", Help: "Time that operations on registries took, failed ones included.", Buckets: slow,
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: namespace + "registry_failures_total", Help: "Operations on registries that got no answer, or none that settles them.",
		}, []string{"operation"}),
	}
	m.stores = newStoreMetrics()
	for _, operation := range registryOperations { // so that rates are known from the start
		m.registry.WithLabelValues(operation)
		m.failures.WithLabelValues(operation)
	}
	m.add(m.durable, m.answered, m.fanoutLocal, m.fanoutRemote, m.handshake, m.registry, m.failures)
	m.add(m.stores.all()...)
	return m
}

// registryOperations are those of kvpin.Config.Observe.
var registryOperations = []string{"read", "write", "lookup", "hold", "release", "renew", "reconcile", "sweep"}

// add registers collectors in place of what an earlier life of the node left.
func (m *Metrics) add(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		var known prometheus.AlreadyRegisteredError
		if err := m.into.Register(c); errors.As(err, &known) {
			m.into.Unregister(known.ExistingCollector)
			m.into.MustRegister(c)
		} else if err != nil {
			panic(err) // two of our own metrics contradict each other
		}
		m.all = append(m.all, c)
	}
}

// Watch has the node's figures read whenever somebody asks for metrics. It is
// called once.
func (m *Metrics) Watch(version string, protocol int, read func() Figures) {
	if m != nil {
		m.add(newFigures(version, protocol, read))
	}
}

// Close takes the metrics away: the node is no more.
func (m *Metrics) Close() {
	if m == nil {
		return
	}
	for _, c := range m.all {
		m.into.Unregister(c)
	}
	m.all = nil
}

// Durable observes the time from publishing to acknowledgement.
func (m *Metrics) Durable(d time.Duration) {
	if m != nil {
		m.durable.Observe(d.Seconds())
	}
}

// Answered observes the time from a client's question whether all that it sent is
// saved until it was told so.
func (m *Metrics) Answered(d time.Duration) {
	if m != nil {
		m.answered.Observe(d.Seconds())
	}
}

// FanoutLocal observes the time from reading an edit to the last session of this
// node.
func (m *Metrics) FanoutLocal(d time.Duration) {
	if m != nil {
		m.fanoutLocal.Observe(d.Seconds())
	}
}

// FanoutRemote observes the time from this node to another one.
func (m *Metrics) FanoutRemote(d time.Duration) {
	if m != nil {
		m.fanoutRemote.Observe(d.Seconds())
	}
}

// Handshake observes the time that a handshake took.
func (m *Metrics) Handshake(d time.Duration) {
	if m != nil {
		m.handshake.Observe(d.Seconds())
	}
}

// Registry observes an operation on a registry; it failed if the registry gave no
// answer.
func (m *Metrics) Registry(operation string, d time.Duration, failed bool) {
	if m == nil {
		return
	}
	m.registry.WithLabelValues(operation).Observe(d.Seconds())
	if failed {
		m.failures.WithLabelValues(operation).Inc()
	}
}
