package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// StoreFigures are those of the store of one license region.
type StoreFigures struct {
	License string
	Up      bool // as far as its last answer says
}

// KeptFigures are what a node has to do with stores.
type KeptFigures struct {
	Dirty  int           // documents with edits that the store does not have
	Oldest time.Duration // the age of the oldest of these edits
	Owed   int           // lives of documents that ended before they were stored
	// Waiting are loads and saves that wait for memory.
	Waiting int
}

// storeUpDesc has a family of its own, since a node may have no store.
var storeUpDesc = desc("store_up", "1 while the store works, as far as its last answer says.", "license")

// storeMetrics are the families of calls to stores.
type storeMetrics struct {
	loads, saves         *prometheus.CounterVec
	loadSeconds, seconds prometheus.Histogram
	bytes                prometheus.Counter
}

// Outcomes of calls to stores, for labels.
var (
	LoadOutcomes = []string{"found", "absent", "deleted", "failed", "corrupt"}
	SaveOutcomes = []string{"stored", "conflict", "unknown", "failed"}
)

// storeBuckets reach to the time that a store has for an answer.
var storeBuckets = prometheus.ExponentialBuckets(1e-3, 2, 16) // 1 ms to 33 s

func newStoreMetrics() *storeMetrics {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: namespace + name, Help: help, Buckets: storeBuckets})
	}
	counters := func(name, help string, outcomes []string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: namespace + name, Help: help}, []string{"outcome"})
		for _, outcome := range outcomes {
			c.WithLabelValues(outcome)
		}
		return c
	}
	return &storeMetrics{
		loads:       counters("store_loads_total", "Documents loaded from stores, by what was found.", LoadOutcomes),
		saves:       counters("store_saves_total", "Attempts to save documents and deletions, by what came of them; unknown: no answer, and it may have happened.", SaveOutcomes),
		loadSeconds: histogram("store_load_seconds", "Time that loads from stores took, failed ones included."),
		seconds:     histogram("store_save_seconds", "Time that saves took, failed ones included."),
		bytes:       prometheus.NewCounter(prometheus.CounterOpts{Name: namespace + "store_saved_bytes_total", Help: "Bytes of documents that were saved."}),
	}
}

func (s *storeMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{s.loads, s.saves, s.loadSeconds, s.seconds, s.bytes}
}

// StoreLoad observes a load; outcome is one of LoadOutcomes.
func (m *Metrics) StoreLoad(outcome string, d time.Duration) {
	if m != nil {
		m.stores.loads.WithLabelValues(outcome).Inc()
		m.stores.loadSeconds.Observe(d.Seconds())
	}
}

// StoreSave observes a save; outcome is one of SaveOutcomes.
func (m *Metrics) StoreSave(outcome string, d time.Duration, bytes int) {
	if m == nil {
		return
	}
	m.stores.saves.WithLabelValues(outcome).Inc()
	m.stores.seconds.Observe(d.Seconds())
	if outcome == "stored" {
		m.stores.bytes.Add(float64(bytes))
	}
}
