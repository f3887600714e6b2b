package relay

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/wire"
)

// What it costs to carry: one author at home, and readers that are there, or are carried
// there. Nodes and clients are one process, so that the difference of its CPU is what the
// carrying node spends, and that of the latencies one hop on loopback.
func BenchmarkDeliveriesCarriedAndDirect(b *testing.B) {
	for _, c := range []struct {
		name  string
		query string // of the readers, who are at another node; "-": they are at home
	}{{"direct", "-"}, {"carried", "?elsewhere=carry"}} {
		b.Run(c.name, func(b *testing.B) {
			w := newRegions(b)
			home := w.node(eu, "a")
			w.pins = func(c *kvpin.Config) { c.RegionURLs = map[docid.Region]string{eu: "ws://" + home.addr} } // no proxy between
			away := w.node(us, "b")
			token := w.token(authn.Subject{})
			author := open(b, home, "minutes", token)
			at, target := home, "minutes"
			if c.query != "-" {
				at, target = away, "minutes"+c.query
			}
			const readers = 20
			arrived := make(chan time.Time, readers)
			ctx, cancel := context.WithCancel(b.Context())
			var reading sync.WaitGroup
			for range readers {
				conn := carriedClient(b, at, target, token)
				reading.Go(func() {
					for {
						_, message, err := conn.Read(ctx)
						if err != nil {
							return
						}
						if m, err := wire.Decode(message); err == nil && m.Kind == wire.Update {
							arrived <- time.Now()
						}
					}
				})
			}
			latencies := make([]time.Duration, 0, b.N)
			edit := func(clock uint64) {
				start := time.Now()
				if err := author.Write(ctx, websocket.MessageBinary, wire.Encode(wire.Update, typedBy(7, clock)).Content()); err != nil {
					b.Fatal(err)
				}
				var last time.Time
				for range readers {
					last = <-arrived
				}
				latencies = append(latencies, last.Sub(start))
			}
			eventually(b, "all are in", func() bool { return len(home.clients.seated()) == readers+1 })
			edit(0)
			latencies = latencies[:0]
			before := cpu(b)
			b.ResetTimer()
			for i := range b.N {
				edit(uint64(i) + 1)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N*readers)/1e3, "cpu-µs/delivery")
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2])/1e3, "p50-µs")
			cancel()
			reading.Wait()
		})
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
