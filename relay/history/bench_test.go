package history_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// fill appends one message to each of n documents.
func fill(b *testing.B, h *history.History, n int) {
	b.Helper()
	var left sync.WaitGroup
	left.Add(n)
	places := make(chan struct{}, 5000)
	for i := range n {
		places <- struct{}{}
		if err := h.Append(subject(fmt.Sprint("d", i)), make([]byte, 100), func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			<-places
			left.Done()
		}); err != nil {
			b.Fatal(err)
		}
	}
	left.Wait()
}

// BenchmarkAppend is 100 bytes appended and acknowledged, with 1,000 under way.
func BenchmarkAppend(b *testing.B) {
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprint(servers, " replicas"), func(b *testing.B) {
			p := openPod(b, natstest.Cluster(b, servers).URL, history.Config{Replicas: servers, AckWait: time.Minute})
			data := make([]byte, 100)
			places := make(chan struct{}, 1000)
			done := func(_ uint64, err error) {
				if err != nil {
					b.Error(err)
				}
				<-places
			}
			s := subject("d")
			b.ReportAllocs()
			for b.Loop() {
				places <- struct{}{}
				if err := p.Append(s, data, done); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(places) {
				places <- struct{}{}
			}
		})
	}
}

// BenchmarkAppendAlone is one append at a time: the time to durable.
func BenchmarkAppendAlone(b *testing.B) {
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprint(servers, " replicas"), func(b *testing.B) {
			p := openPod(b, natstest.Cluster(b, servers).URL, history.Config{Replicas: servers})
			data := make([]byte, 100)
			acknowledged := make(chan error, 1)
			done := func(_ uint64, err error) { acknowledged <- err }
			b.ReportAllocs()
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
}

// BenchmarkLoad opens documents of a few messages among 100,000 documents, one
// after another and many at once.
func BenchmarkLoad(b *testing.B) {
	const documents = 100_000
	p := openPod(b, natstest.Server(b).URL, history.Config{AckWait: time.Minute})
	fill(b, p.History, documents)
	each := func(uint64, []byte) error { return nil }
	open := func(b *testing.B, i int) {
		last, err := p.Load(b.Context(), subject(fmt.Sprint("d", i%documents)), each)
		if err != nil || last == 0 {
			b.Fatal(last, err)
		}
	}
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i += 7919 {
			open(b, i)
		}
	})
	b.Run("many at once", func(b *testing.B) {
		b.ReportAllocs()
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
	for b.Loop() {
		n := 0
		if _, err := p.Load(b.Context(), subject("d"), func(uint64, []byte) error { n++; return nil }); err != nil || n != 10_001 {
			b.Fatal(n, err)
		}
	}
}
