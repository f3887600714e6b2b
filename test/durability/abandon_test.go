//go:build !race

// What this test shows, it shows by the number of documents; their lives meet the race detector
// in the other tests.
package durability

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/natstest"
)

// footprint is what a region holds.
type footprint struct {
	objects       uint64 // on the heap
	heap          uint64 // bytes in use
	goroutines    int
	subscriptions uint32 // on the NATS server
	subjects      int    // in the history
	keys          uint64 // in the registry
}

func (f footprint) String() string {
	return fmt.Sprintf("%d objects of %.1f MiB, %d goroutines, %d subscriptions, %d history subjects, %d registry keys",
		f.objects, float64(f.heap)/mib, f.goroutines, f.subscriptions, f.subjects, f.keys)
}

func TestAbandonedDocumentsLeaveNothingBehind(t *testing.T) {
	documents := 1_000
	if soak() {
		documents = 10_000
	}
	i := natstest.Server(t)
	pods := []*pod{startPod(t, i, "a", nil), startPod(t, i, "b", nil)}
	nc := natstest.Connect(t, i)
	measure := func() (f footprint) {
		runtime.GC()
		runtime.GC() // what pools kept for one more cycle
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		f.objects, f.heap, f.goroutines = m.HeapObjects, m.HeapAlloc, runtime.NumGoroutine()
		f.subscriptions = i.NATS(0).NumSubscriptions()
		f.subjects, _ = subjects(t, pods[0].history)
		f.keys = keys(t, nc)
		return f
	}
	// A few first: caches, pools and connections are made once.
	visit := func(from, to int) {
		for d := from; d < to; d++ {
			c := dial(t, pods[d%2].url, documentName(d), "")
			c.typeText("edited")
			if d%4 == 0 { // some are shared between the nodes
				other := dial(t, pods[(d+1)%2].url, documentName(d), "")
				other.waitHas(c)
				other.leave()
			}
			c.leave()
		}
	}
	settle := func(what string, ok func(footprint) bool) (f footprint) {
		waitFor(t, patience, func() (bool, string) {
			f = measure()
			return ok(f), fmt.Sprintf("%s: %s", what, f)
		})
		t.Logf("%s: %s", what, f)
		return f
	}
	visit(0, 100)
	before := settle("before", func(f footprint) bool { return f.subjects == 0 && f.subscriptions < 200 && f.keys < 10 })
	time.Sleep(5 * time.Second) // what a rare timer still holds
	before = measure()

	start := time.Now()
	visit(100, 100+documents)
	t.Logf("%d documents in %v", documents, time.Since(start).Round(time.Millisecond))
	// The test keeps a little of each client itself, and the server in this process a buffer or
	// two for what it writes, however many documents there were: objects tell them apart.
	const (
		objectsPerDocument = 30
		bytesPerDocument   = 4 << 10
		serverBuffers      = 2 * 4 * mib
	)
	n := uint64(documents)
	settle("after", func(f footprint) bool {
		return f.objects < before.objects+before.objects/5+n*objectsPerDocument &&
			f.heap < before.heap+before.heap/5+n*bytesPerDocument+serverBuffers &&
			f.goroutines <= before.goroutines && f.subscriptions <= before.subscriptions &&
			f.subjects == 0 && f.keys <= before.keys
	})
}
