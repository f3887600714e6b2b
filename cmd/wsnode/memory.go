package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/wsnode/wsnode/relay/overload"
)

// memoryShare of the container's limit is the collector's goal, unless GOMEMLIMIT
// says otherwise: the rest is for what it does not count, and for what is allocated
// while it works.
const memoryShare = 0.9

// gcPercent is how much the heap may grow between collections, in percent of what is
// live: the less there is, the cheaper are rare collections. See docs/operations.md
// for what was measured.
func gcPercent(live uint64) int {
	switch {
	case live < 256<<20:
		return 400
	case live < 1<<30:
		return 200
	}
	return 100
}

// tuneMemory sets the garbage collector, and gives memory back to the system while
// the process rests, until ctx ends.
func tuneMemory(ctx context.Context) {
	if limit := overload.MemoryLimit(); limit > 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(float64(limit) * memoryShare))
	}
	fixed := os.Getenv("GOGC") != ""
	tick := time.NewTicker(restFor)
	defer tick.Stop()
	var r rest
	for percent := 100; ; {
		h := readHeap()
		if next := gcPercent(h.live); next != percent && !fixed {
			percent = next
			debug.SetGCPercent(percent)
		}
		if r.due(h) {
			runtime.GC() // pools are emptied by the second collection
			debug.FreeOSMemory()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// restFor is how long the process must have been quiet before memory is given back.
const restFor = 2 * time.Second

// stack is what a goroutine's stack usually takes, in bytes.
const stack = 8 << 10

// heap is what the runtime says about its memory, in bytes.
type heap struct {
	allocated uint64 // since the start
	live      uint64 // after the last collection
	objects   uint64 // live ones and garbage
	free      uint64 // kept from the system, for objects to come
	stacks    uint64 // of goroutines, and of those that ended since the last collection
	running   uint64 // goroutines
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(s)
	value := func(i int) uint64 { return s[i].Value.Uint64() }
	return heap{value(0), value(1), value(2), value(3), value(4), value(5)}
}

// rest finds the moment to give memory back: a burst of connects or edits is over,
// or sessions came to rest, and left garbage and stacks that nobody will collect for a long time. A collection costs as
// much as there are live objects, so it must free a good share of them, and a busy
// process is left to the collector's own pace.
type rest struct{ allocated uint64 }

// due reports whether memory is to be given back now.
func (r *rest) due(h heap) bool {
	quiet := h.allocated-r.allocated < max(h.live/16, 1<<20)
	r.allocated = h.allocated
	spare := h.free + h.objects - min(h.live, h.objects) + h.stacks - min(h.running*stack, h.stacks)
	return quiet && spare > max(h.live/4, 4<<20)
}
