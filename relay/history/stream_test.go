package history_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// A restarted replica that leads for a moment tells its own time of creation, some
// milliseconds from the others'. Taking the stream for a new one has every live
// document written again.
func TestAReplicaThatLeadsForAMomentIsNoNewStream(t *testing.T) {
	const created = `"created":"2026-01-01T00:00:%s"`
	for name, c := range map[string]struct {
		before, after string
		renewed       bool
	}{
		"another replica":                {`"wsnode.shards":"1"}},` + created, `"wsnode.shards":"1"}},` + created, false},
		"another replica, by its id":     {`"wsnode.shards":"1","wsnode.id":"a"}},` + created, `"wsnode.shards":"1","wsnode.id":"a"}},` + created, false},
		"a new stream":                   {`"wsnode.shards":"1"}},` + created, `"wsnode.shards":"1"}},"created":"2026-01-01T00:01:00Z"%.0s`, true},
		"a new stream soon, by its id":   {`"wsnode.shards":"1","wsnode.id":"a"}},` + created, `"wsnode.shards":"1","wsnode.id":"b"}},` + created, true},
		"a new stream that has no id":    {`"wsnode.shards":"1","wsnode.id":"a"}},` + created, `"wsnode.shards":"1"}},"created":"2026-01-02T00:00:00Z"%.0s`, true},
		"an id that an operator removed": {`"wsnode.shards":"1","wsnode.id":"a"}},` + created, `"wsnode.shards":"1"}},` + created, false},
	} {
		t.Run(name, func(t *testing.T) {
			var after atomic.Bool
			f := &fake{info: func() string {
				if after.Load() {
					return fmt.Sprintf(c.after, "00.012Z")
				}
				return fmt.Sprintf(c.before, "00.007Z")
			}}
			h := f.open(t)
			after.Store(true)
			renewed, err := h.Ensure(within(t, time.Minute))
			if err != nil || len(renewed) > 0 != c.renewed {
				t.Errorf("renewed %v, %v", renewed, err)
			}
		})
	}
}

// safeBuffer takes a log.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestAStreamWithFewerReplicasThanWantedIsSaid(t *testing.T) {
	servers := natstest.Server(t)
	var said safeBuffer
	config := history.Config{Log: slog.New(slog.NewTextHandler(&said, nil))}
	open(t, servers, config)
	if strings.Contains(said.String(), "replicas") {
		t.Errorf("said of a stream that has enough: %s", said.String())
	}
	config.Replicas = 3
	h := open(t, servers, config)
	if !strings.Contains(said.String(), "fewer replicas") || !strings.Contains(said.String(), "nats stream edit wsnode-history-0 --replicas 3 --description ") {
		t.Errorf("said: %s", said.String())
	}
	states, err := h.State(within(t, time.Minute))
	if err != nil || states[0].Replicas != 1 || h.Replicas() != 3 {
		t.Errorf("%+v, %v, expected %d", states, err, h.Replicas())
	}
}

func TestTheAccountsLimitIsKnown(t *testing.T) {
	const limit = 1 << 20
	servers := natstest.Server(t)
	h := open(t, servers, history.Config{})
	if _, max, err := h.Account(within(t, time.Minute)); err != nil || max != 0 {
		t.Errorf("without a limit: %d, %v", max, err)
	}
	account, err := servers.NATS(0).LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		t.Fatal(err)
	}
	err = account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
		"": {MaxMemory: -1, MaxStore: limit, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	stored(t, h, subject("d"), strings.Repeat("x", 1000))
	used, most, err := h.Account(within(t, time.Minute))
	if err != nil || most != limit || used < 1000 || used > 10_000 {
		t.Errorf("%d of %d, %v", used, most, err)
	}
}
