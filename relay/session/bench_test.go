package session

import (
	"context"
	"io"
	"testing"

	"github.com/wsnode/wsnode/relay/wire"
)

// BenchmarkSend is one update of 100 bytes written to the socket of a client that reads.
func BenchmarkSend(b *testing.B) {
	s := serve(b, setup{})
	go func() {
		for {
			_, r, err := s.client.Reader(context.Background())
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r)
		}
	}()
	payload := make([]byte, 100)
	b.ReportAllocs()
	m := wire.NewMessage(wire.Update, payload)
	for b.Loop() {
		s.Send(m)
	}
}
