package bus_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPublishAndReceive is one pod that publishes and one that receives, 100
// bytes a message, server included.
func BenchmarkPublishAndReceive(b *testing.B) {
	servers := natstest.Server(b)
	for _, rate := range []int{0, 2000} {
		name := "at full speed"
		if rate > 0 {
			name = fmt.Sprint("at ", rate, " per second")
		}
		b.Run(name, func(b *testing.B) {
			from, to := open(b, servers.URL, bus.Config{}), open(b, servers.URL, bus.Config{})
			var came atomic.Int64
			if _, err := to.Subscribe("wsn.u.0.x", bus.HandlerFunc(func(_, _ string, _ []byte) { came.Add(1) })); err != nil {
				b.Fatal(err)
			}
			flush(b, to)
			data := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			began, start := processorTime(), time.Now()
			for i := range b.N {
				if err := from.Publish("wsn.u.0.x", data); err != nil {
					b.Fatal(err)
				}
				if rate > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
				} else if i%1000 == 0 {
					for int64(i)-came.Load() > 10000 {
						time.Sleep(time.Millisecond)
					}
				}
			}
			for came.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64((processorTime()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkPublish is the publisher's part alone, with a flush now and then so
// that the server keeps up.
func BenchmarkPublish(b *testing.B) {
	servers := natstest.Server(b)
	data := make([]byte, 100)
	from := open(b, servers.URL, bus.Config{})
	plain := natstest.Connect(b, servers, nats.NoEcho())
	for name, publish := range map[string]func() error{
		"bus":              func() error { return from.Publish("wsn.u.0.x", data) },
		"plain connection": func() error { return plain.Publish("wsn.u.0.x", data) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := publish(); err != nil {
					b.Fatal(err)
				}
				if i%1000 == 999 {
					flush(b, from)
					_ = plain.Flush()
				}
			}
		})
	}
}

// BenchmarkSubscription is one subscription made and ended.
func BenchmarkSubscription(b *testing.B) {
	one := open(b, natstest.Server(b).URL, bus.Config{})
	h := bus.HandlerFunc(func(_, _ string, _ []byte) {})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, err := one.Subscribe(fmt.Sprintf("wsn.u.0.aws-eu-west-1.tenant.app.document%d.epoch", i), h)
		if err != nil {
			b.Fatal(err)
		}
		s.Unsubscribe()
		if i%1000 == 999 {
			flush(b, one)
		}
	}
}
