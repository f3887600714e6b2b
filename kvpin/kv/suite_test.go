package kv_test

import (
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
	"github.com/wsnode/wsnode/test/natstest"
)

// bucket is a store on a bucket that is there and takes writes.
func bucket(t *testing.T, url string, replicas int) *kv.NATSStore {
	t.Helper()
	source := kv.Source{URL: url, Replicas: replicas, Create: true}
	link, err := kv.Connect(source, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	if err := link.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := link.Bucket("wsnode-suite", "")
	// Who asks for a bucket right after its creation may ask a server that has not
	// heard of it, and a replicated bucket elects its leader first.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := s.Ensure(t.Context(), source)
		if err == nil {
			_, err = s.Get(t.Context(), "ready")
		}
		if err == nil {
			return s
		}
		if !errors.Is(err, kv.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestNATSMeetsTheContract(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start    func(testing.TB) *natstest.Instance
		replicas int
		delay    time.Duration // each way
	}{
		"one server":    {func(t testing.TB) *natstest.Instance { return natstest.Server(t) }, 1, 0},
		"three servers": {func(t testing.TB) *natstest.Instance { return natstest.Cluster(t, 3) }, 3, 0},
		"slow link":     {func(t testing.TB) *natstest.Instance { return natstest.Server(t) }, 1, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nats := c.start(t)
			proxy := natstest.NewProxy(t, nats.ServerURL(0))
			proxy.SetDelay(c.delay)
			kvtest.Run(t, &kvtest.Harness{
				Store: bucket(t, proxy.URL, c.replicas),
				Other: bucket(t, nats.URL, c.replicas),
				Stall: func() func() { proxy.Cut(); return proxy.Heal },
			})
		})
	}
}
