package kvpin

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/test/natstest"
)

// The costs of a connect in the registry, on an empty bucket and on one with
// 100,000 live documents.

func BenchmarkRegistry(b *testing.B) {
	for _, servers := range []int{1, 3} {
		for _, pins := range []int{0, 100_000} {
			b.Run(fmt.Sprintf("servers=%d/pins=%d", servers, pins), func(b *testing.B) { benchmarkRegistry(b, servers, pins) })
		}
	}
}

func benchmarkRegistry(b *testing.B, servers, pins int) {
	var server *natstest.Instance
	if servers == 1 {
		server = natstest.Server(b)
	} else {
		server = natstest.Cluster(b, servers)
	}
	w := &world{t: b, server: server, url: server.URL}
	b.Cleanup(w.close)
	w.change = append(w.change, func(c *Config) {
		c.Grace, c.LeaseTTL, c.RenewEvery = 10*time.Second, 10*time.Second, 3*time.Second
	})
	here, there := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	fill(b, here, pins)
	live := benchDoc("live", 0)
	here.hold(live)
	ctx := context.Background()
	next := 0
	fresh := func() docid.Document { next++; return benchDoc("claim", next) }

	b.Run("claim", func(b *testing.B) {
		latencies(b, func() error { _, err := here.Hold(ctx, fresh()); return err })
	})
	b.Run("lookup+claim", func(b *testing.B) {
		latencies(b, func() error {
			doc := fresh()
			if _, _, err := here.Lookup(ctx, doc); err != nil {
				return err
			}
			_, err := here.Hold(ctx, doc)
			return err
		})
	})
	b.Run("claim+release", func(b *testing.B) {
		latencies(b, func() error {
			h, err := here.Hold(ctx, fresh())
			if err == nil {
				_, err = h.Release(ctx, time.Now())
			}
			return err
		})
	})
	b.Run("lookup-free", func(b *testing.B) {
		latencies(b, func() error { _, _, err := there.Lookup(ctx, fresh()); return err })
	})
	b.Run("lookup-live", func(b *testing.B) {
		latencies(b, func() error { _, _, err := there.Lookup(ctx, live); return err })
	})
	b.Run("claims-in-parallel", func(b *testing.B) {
		inParallel(b, fresh, func(doc docid.Document) error { _, err := here.Hold(ctx, doc); return err })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
	})
	b.Run("lookups-in-parallel", func(b *testing.B) {
		inParallel(b, fresh, func(doc docid.Document) error { _, _, err := there.Lookup(ctx, doc); return err })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
	})
	if pins > 0 {
		b.Run("scan", func(b *testing.B) { benchmarkScan(b, there) })
	}
}

// benchmarkScan goes through all pins, as a region does that looks for orphans.
func benchmarkScan(b *testing.B, n *testNode) {
	seen := 0
	for b.Loop() {
		if err := n.buckets[testLicense].store.Scan(context.Background(), pinKeys, func(kv.Entry) error { seen++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "pins/s")
}

// inParallel has 32 callers do op on b.N documents.
func inParallel(b *testing.B, fresh func() docid.Document, op func(docid.Document) error) {
	docs := make(chan docid.Document, 1000)
	go func() {
		for range b.N {
			docs <- fresh()
		}
		close(docs)
	}()
	used := processorTime()
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for doc := range docs {
				if err := op(doc); err != nil {
					b.Error(err)
					for range docs { // so that the giver ends
					}
					return
				}
			}
		})
	}
	callers.Wait()
	b.ReportMetric(float64((processorTime()-used).Microseconds())/float64(b.N), "cpu-µs/op")
}

// processorTime is that of the whole process: of the servers and of the nodes.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchDoc(kind string, i int) docid.Document {
	return docid.Document{License: testLicense, Tenant: "bench", App: "registry", Name: fmt.Sprintf("%s-%d", kind, i)}
}

func fill(b *testing.B, n *testNode, count int) {
	var filling sync.WaitGroup
	for k := range 32 {
		filling.Go(func() {
			for i := k; i < count; i += 32 {
				if _, err := n.Hold(context.Background(), benchDoc("fill", i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	filling.Wait()
}

// latencies runs op one after the other and reports its percentiles.
func latencies(b *testing.B, op func() error) {
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if err := op(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
