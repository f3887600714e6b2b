package history_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// countProcessor reports the processor time per operation, servers included: on a
// machine shared with others it says more than the clock.
func countProcessor(b *testing.B) (stop func()) {
	used := func() int64 {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// fill appends one message to each of n documents.
func fill(b *testing.B, h *history.History, n int) {
	b.Helper()
	var left sync.WaitGroup
	left.Add(n)
	slots := make(chan struct{}, 5000)
	for i := range n {
		slots <- struct{}{}
		if err := h.Append(subject(fmt.Sprint("d", i)), make([]byte, 100), func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
			left.Done()
		}); err != nil {
			b.Fatal(err)
		}
	}
	left.Wait()
}

// kinds are the ways to keep a history that docs/history.md compares.
var kinds = []struct {
	name     string
	replicas int
	sync     bool
	relaxed  bool
}{
	{"1 replica", 1, false, false},
	{"1 replica, relaxed", 1, false, true},
	{"1 replica, server syncs", 1, true, false},
	{"1 replica, server syncs, relaxed", 1, true, true},
	{"3 replicas", 3, false, false},
	{"3 replicas, servers sync", 3, true, false},
}

func eachKind(b *testing.B, run func(b *testing.B, p pod)) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			servers := natstest.Cluster(b, k.replicas, func(o *server.Options) { o.SyncAlways = k.sync })
			run(b, openPod(b, servers.URL, history.Config{Replicas: k.replicas, Relaxed: k.relaxed, AckWait: time.Minute}))
		})
	}
}

// BenchmarkAppend is 100 bytes appended and acknowledged, with 1,000 under way.
func BenchmarkAppend(b *testing.B) {
	eachKind(b, func(b *testing.B, p pod) {
		data := make([]byte, 100)
		slots := make(chan struct{}, 1000)
		done := func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		}
		s := subject("d")
		b.ReportAllocs()
		defer countProcessor(b)()
		for b.Loop() {
			slots <- struct{}{}
			if err := p.Append(s, data, done); err != nil {
				b.Fatal(err)
			}
		}
		for range cap(slots) {
			slots <- struct{}{}
		}
	})
}

// BenchmarkAppendAlone is one append at a time: the time to durable.
func BenchmarkAppendAlone(b *testing.B) {
	eachKind(b, func(b *testing.B, p pod) {
		data := make([]byte, 100)
		acknowledged := make(chan error, 1)
		done := func(_ uint64, err error) { acknowledged <- err }
		b.ReportAllocs()
		defer countProcessor(b)()
		for b.Loop() {
			if err := p.Append(subject("d"), data, done); err != nil {
				b.Fatal(err)
			}
			if err := <-acknowledged; err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLoad opens documents of a few messages among 100,000 documents, one
// after another and many at once.
func BenchmarkLoad(b *testing.B) {
	const documents = 100_000
	p := openPod(b, natstest.Server(b).URL, history.Config{AckWait: time.Minute})
	fill(b, p.History, documents)
	each := func(uint64, []byte) error { return nil }
	open := func(b *testing.B, i int) {
		last, err := p.LoadFrom(b.Context(), subject(fmt.Sprint("d", i%documents)), 1, each)
		if err != nil || last == 0 {
			b.Fatal(last, err)
		}
	}
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		defer countProcessor(b)()
		for i := 0; b.Loop(); i += 7919 {
			open(b, i)
		}
	})
	b.Run("many at once", func(b *testing.B) {
		b.ReportAllocs()
		defer countProcessor(b)()
		var n atomic.Int64
		b.SetParallelism(100)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				open(b, int(n.Add(7919)))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "opens/s")
	})
}

// BenchmarkLoadLong loads one document of 10,000 messages.
func BenchmarkLoadLong(b *testing.B) {
	p := openPod(b, natstest.Server(b).URL, history.Config{AckWait: time.Minute})
	for range 10_000 {
		if err := p.Append(subject("d"), make([]byte, 100), nil); err != nil {
			b.Fatal(err)
		}
	}
	stored(b, p.History, subject("d"), "last")
	b.ReportAllocs()
	defer countProcessor(b)()
	for b.Loop() {
		n := 0
		if _, err := p.LoadFrom(b.Context(), subject("d"), 1, func(uint64, []byte) error { n++; return nil }); err != nil || n != 10_001 {
			b.Fatal(n, err)
		}
	}
}
