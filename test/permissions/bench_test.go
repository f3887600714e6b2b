package permissions

import (
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
)

// BenchmarkAppend is what it costs that histories have an account of their own: 100
// bytes appended and acknowledged, with 1,000 under way and one at a time, from within
// their account and, as nodes do, through the import. The server does not sync, which
// would cover everything else.
func BenchmarkAppend(b *testing.B) {
	s := ship(b, withRoots, func(o *server.Options) { o.SyncAlways = false })
	if _, err := history.Create(b.Context(), s.connect(b, setupHistory), history.Config{Domain: "history"}); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, user, domain string
		underWay           int
	}{
		{"1000 under way, same account", rootOf("HISTORY"), "", 1000},
		{"1000 under way, import", pod, "history", 1000},
		{"one at a time, same account", rootOf("HISTORY"), "", 1},
		{"one at a time, import", pod, "history", 1},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkAppend(b, s, c.user, c.domain, c.underWay) })
	}
}

func benchmarkAppend(b *testing.B, s *shipped, user, domain string, underWay int) {
	nc := s.connect(b, user)
	publisher, err := bus.New(nc, bus.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer publisher.Close()
	h, err := history.Open(b.Context(), nc, history.Config{Publisher: publisher, Domain: domain, AckWait: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	places := make(chan struct{}, underWay)
	done := func(_ uint64, err error) {
		if err != nil {
			b.Error(err)
		}
		<-places
	}
	subject, data := doc.UpdatesSubject(0, "e1"), make([]byte, 100)
	before := processorTime()
	for b.Loop() {
		places <- struct{}{}
		if err := h.Append(subject, data, done); err != nil {
			b.Fatal(err)
		}
	}
	for range underWay {
		places <- struct{}{}
	}
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// processorTime says more than the clock on a machine that others use.
func processorTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
