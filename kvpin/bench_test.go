package kvpin

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/docname"
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
	fresh := func() docname.Document { next++; return benchDoc("claim", next) }

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
		docs := make(chan docname.Document, 1000)
		go func() {
			for range b.N {
				docs <- fresh()
			}
			close(docs)
		}()
		var claims sync.WaitGroup
		for range 32 {
			claims.Go(func() {
				for doc := range docs {
					if _, err := here.Hold(ctx, doc); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		claims.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
	})
}

func benchDoc(kind string, i int) docname.Document {
	return docname.Document{License: testLicense, Tenant: "bench", App: "registry", Name: fmt.Sprintf("%s-%d", kind, i)}
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
