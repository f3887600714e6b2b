package overload

import (
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNodeIsOverloadedFrom80UntilBelow70Percent(t *testing.T) {
	g := NewGauge(GaugeConfig{MaxConnections: 100, MaxMemory: -1})
	for n := 1; n <= 100; n++ {
		g.Enter()
		if got := g.Overloaded(); got != (n >= 80) {
			t.Fatalf("%d connections: %v", n, got)
		}
	}
	if g.Load() != 1 || g.Connections() != 100 {
		t.Errorf("load %v, %d connections", g.Load(), g.Connections())
	}
	for n := 99; n >= 0; n-- {
		g.Leave()
		if got := g.Overloaded(); got != (n >= 70) {
			t.Fatalf("%d connections on the way down: %v", n, got)
		}
	}
	g.Enter()
	for range 78 {
		g.Enter()
	}
	if g.Overloaded() {
		t.Error("overloaded again at 79")
	}
}

func TestMemoryOverloadsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used atomic.Int64
		g := NewGauge(GaugeConfig{MaxMemory: 1000, Memory: used.Load})
		go g.Run(t.Context())
		for _, step := range []struct {
			used int64
			want bool
		}{{790, false}, {800, true}, {750, true}, {700, true}, {699, false}, {799, false}, {900, true}} {
			used.Store(step.used)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := g.Overloaded(); got != step.want {
				t.Errorf("%d of 1000: %v", step.used, got)
			}
		}
		g.Enter()
		used.Store(100)
		time.Sleep(2 * time.Second)
		if g.Overloaded() {
			t.Error("connections without a limit overload")
		}
	})
}

func TestGarbageIsNotLoad(t *testing.T) {
	before := memoryInUse()
	var sink []byte
	for range 200 {
		sink = make([]byte, 1<<20)
	}
	_ = sink
	if after := memoryInUse(); before <= 0 || after-before > 64<<20 {
		t.Errorf("%d MiB before, %d after 200 MiB of garbage", before>>20, after>>20)
	}
}

func TestMemoryLimitOfAContainerIsRead(t *testing.T) {
	for text, want := range map[string]int64{"max\n": math.MaxInt64, "1073741824\n": 1 << 30, "": math.MaxInt64, "-1": math.MaxInt64} {
		if got := parseMemory([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if limit := MemoryLimit(); limit < 0 {
		t.Errorf("limit %d", limit)
	}
}
