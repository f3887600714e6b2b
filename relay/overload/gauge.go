// Package overload says when a node can carry no more, so that it refuses new clients
// before it fails those that it has: by its connections, its memory and its file
// descriptors.
package overload

import (
	"context"
	"math"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// A node is overloaded from highWater of any measure on, until all are below lowWater.
const (
	highWater = 0.80
	lowWater  = 0.70
)

// sampleEvery is how often memory and descriptors are measured.
const sampleEvery = time.Second

// GaugeConfig says what a node can carry.
type GaugeConfig struct {
	MaxConnections int   // zero: any number
	MaxMemory      int64 // bytes; zero: the container's limit or GOMEMLIMIT, if any; negative: any amount
	Memory         func() int64
	Descriptors    *Descriptors // nil: any number
}

// Gauge says whether the node is overloaded. It is safe for concurrent use.
type Gauge struct {
	maxConnections int
	maxMemory      int64
	measure        func() int64
	files          *Descriptors

	connections atomic.Int64
	memory      atomic.Int64
	descriptors atomic.Uint64 // the share of them in use, a float64

	mu         sync.Mutex // guards changes of overloaded
	overloaded atomic.Bool
}

// NewGauge makes a gauge and measures once.
func NewGauge(c GaugeConfig) *Gauge {
	g := &Gauge{maxConnections: c.MaxConnections, maxMemory: c.MaxMemory, measure: c.Memory, files: c.Descriptors}
	if g.maxMemory == 0 {
		g.maxMemory = MemoryLimit()
	}
	if g.measure == nil {
		g.measure = memoryInUse
	}
	g.Sample()
	return g
}

// Run measures every second until ctx ends.
func (g *Gauge) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.Sample()
		}
	}
}

// Sample measures memory and descriptors now.
func (g *Gauge) Sample() {
	g.descriptors.Store(math.Float64bits(g.files.Share()))
	if g.maxMemory > 0 {
		g.memory.Store(g.measure())
	}
	g.judge()
}

// Enter counts a connection.
func (g *Gauge) Enter() { g.connections.Add(1); g.judge() }

// Leave takes a connection back.
func (g *Gauge) Leave() { g.connections.Add(-1); g.judge() }

// Connections is how many have entered and not left.
func (g *Gauge) Connections() int { return int(g.connections.Load()) }

// Overloaded reports whether new connections should be refused.
func (g *Gauge) Overloaded() bool { return g.overloaded.Load() }

// Load is the largest of the shares in use: of connections, of memory, of file
// descriptors; 1 is all that there may be. A node sheds load from 0.8 on: scale out well
// before.
func (g *Gauge) Load() float64 {
	var load float64
	if g.maxConnections > 0 {
		load = float64(g.connections.Load()) / float64(g.maxConnections)
	}
	if g.maxMemory > 0 {
		load = max(load, float64(g.memory.Load())/float64(g.maxMemory))
	}
	return max(load, math.Float64frombits(g.descriptors.Load()))
}

func (g *Gauge) judge() {
	// Connections come and go much more often than the verdict changes.
	if load := g.Load(); (load >= highWater) == g.overloaded.Load() && load >= lowWater {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch load := g.Load(); {
	case load >= highWater:
		g.overloaded.Store(true)
	case load < lowWater:
		g.overloaded.Store(false)
	}
}

// memoryInUse is the memory that the process cannot do without: the heap that
// the last collection found alive, stacks, and the runtime's own. Garbage is not
// counted: with a roomy GOGC it would look like load.
func memoryInUse() int64 {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return value(0) + value(1) - value(2) - value(3) - value(4) - value(5)
}
