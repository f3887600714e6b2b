package history

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// BenchmarkAcknowledgement is our own part of an append: a slot taken, a reply
// read, the slot given back.
func BenchmarkAcknowledgement(b *testing.B) {
	h := &History{config: Config{MaxInFlight: 1000}}
	a := &acks{h: h, prefix: "_INBOX.abcdefghijklmnopqrstuv.", oldest: none, newest: none}
	m := &nats.Msg{Data: []byte(`{"stream":"wsnode-history-0","seq":123456}`)}
	done := func(uint64, error) {}
	b.ReportAllocs()
	for b.Loop() {
		_, reply, err := a.reserve(0, done)
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := a.claim(reply); !ok {
			b.Fatal("not found")
		}
		if _, err := parseAck(m); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOurPartOfAnAppendAllocatesNothing(t *testing.T) {
	if n := testing.Benchmark(BenchmarkAcknowledgement).AllocsPerOp(); n > 0 {
		t.Errorf("%d allocations", n)
	}
}
