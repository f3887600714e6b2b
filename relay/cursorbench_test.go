package relay

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
)

// masked is a message as a client's frame.
func masked(content []byte) []byte {
	frame, _ := ws.CompileFrame(ws.MaskFrame(ws.NewBinaryFrame(content)))
	return frame
}

// What a keystroke costs of an editor with cursors, which sends two messages for it: the
// edit, and where the cursor is then. They come in one segment, as from a browser, or one
// after the other has arrived. Nodes and clients are one process.
func BenchmarkKeystrokesWithCursors(b *testing.B) {
	for name, together := range map[string]bool{"together": true, "apart": false} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			n := w.node(eu, "a")
			token := w.token(authn.Subject{})
			dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token}})}
			const readers = 20
			edits, cursors := make(chan time.Time, readers), make(chan time.Time, readers)
			var conns []net.Conn
			var reading sync.WaitGroup
			for i := range readers + 1 {
				c, early, _, err := dialer.Dial(b.Context(), "ws://"+n.addr+"/minutes")
				if err != nil {
					b.Fatal(err)
				}
				conns = append(conns, c)
				if early == nil {
					early = bufio.NewReader(c)
				}
				reading.Go(func() {
					for {
						h, err := ws.ReadHeader(early)
						if err != nil {
							return
						}
						content, err := early.Peek(int(h.Length)) // small, all of them
						if err != nil {
							return
						}
						switch m, _ := wire.Decode(content); {
						case i == 0: // the author
						case m.Kind == wire.Update:
							edits <- time.Now()
						case m.Kind == wire.Awareness:
							cursors <- time.Now()
						}
						_, _ = early.Discard(int(h.Length))
					}
				})
			}
			author := conns[0]
			eventually(b, "all are in", func() bool { return len(n.clients.seated()) == readers+1 })
			latencies := make([]time.Duration, 0, b.N)
			last := func(of chan time.Time) (at time.Time) {
				for range readers {
					at = <-of
				}
				return at
			}
			send := func(frames []byte) {
				if _, err := author.Write(frames); err != nil {
					b.Fatal(err)
				}
			}
			stroke := func(clock uint64) {
				edit := masked(wire.Encode(wire.Update, typedBy(7, clock)).Content())
				cursor := masked(wire.Encode(wire.Awareness, awareness.Append(nil, []awareness.Entry{
					{Client: 7, Clock: clock + 1, State: fmt.Appendf(nil, `{"cursor":%d}`, clock)},
				})).Content())
				start := time.Now()
				if together {
					edit = append(edit, cursor...)
				}
				send(edit)
				at := last(edits)
				if !together {
					send(cursor)
				}
				last(cursors)
				latencies = append(latencies, at.Sub(start))
			}
			stroke(0)
			latencies = latencies[:0]
			before := cpu(b)
			b.ResetTimer()
			for i := range b.N {
				stroke(uint64(i) + 1)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N*readers)/1e3, "cpu-µs/keystroke")
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2])/1e3, "p50-µs")
			b.ReportMetric(float64(latencies[len(latencies)*99/100])/1e3, "p99-µs")
			for _, c := range conns {
				_ = c.Close()
			}
			reading.Wait()
		})
	}
}
