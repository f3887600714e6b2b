package relay

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
)

// watch looks now and then at what costs a request, so that whoever reads the metrics costs
// none: how far the other nodes are, and what the history holds. Figures that cannot be had
// stay as they were.
type watch struct {
	bus     *bus.Bus
	history *history.History
	stored  *history.History // of stored lives; nil: there are none
	metrics *admin.Metrics
	log     *slog.Logger
	probes  atomic.Pointer[nats.Subscription]

	mu    sync.Mutex
	holds admin.HistoryFigures
}

func (w *watch) init(cfg *Config) {
	w.bus, w.history, w.stored, w.metrics, w.log = cfg.Bus, cfg.History, cfg.storedHistory, cfg.Metrics, cfg.Log
}

// get returns what the history held lately.
func (w *watch) get() admin.HistoryFigures {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holds
}

const (
	probeEvery   = 5 * time.Second
	probeTimeout = 2 * time.Second
	historyEvery = time.Minute
	// probeSubject is answered by one node of the region, whichever NATS picks. A
	// clock that two machines share does not exist, hence a round trip.
	probeSubject = "wsn.probe"
)

// run looks, until ctx ends.
func (w *watch) run(ctx context.Context) {
	w.answerProbes(w.bus.Conn())
	w.bus.OnMove(w.answerProbes)
	defer func() {
		if sub := w.probes.Load(); sub != nil {
			_ = sub.Unsubscribe() // the connection may be closed already
		}
	}()
	w.lookAtHistory(ctx)
	history := time.NewTicker(historyEvery)
	defer history.Stop()
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-history.C:
			w.lookAtHistory(ctx)
		case <-probe.C:
			w.probe(ctx)
		}
	}
}

// answerProbes answers other nodes on a connection, in place of the one before.
func (w *watch) answerProbes(nc *nats.Conn) {
	sub, err := nc.QueueSubscribe(probeSubject, "nodes", func(m *nats.Msg) {
		if natsconn.IsInbox(m.Reply) {
			_ = m.Respond(nil) // a lost answer is the prober's to notice
		}
	})
	if err != nil {
		w.log.Warn("probes of the other nodes are not answered", "err", err)
		return
	}
	w.probes.Store(sub)
}

// probe measures the way to another node. There may be none.
func (w *watch) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	start := time.Now()
	if _, err := w.bus.Request(ctx, probeSubject, nil); err == nil {
		w.metrics.FanoutRemote(time.Since(start) / 2)
	}
}

func (w *watch) lookAtHistory(ctx context.Context) {
	states, err := w.history.State(ctx)
	if err == nil && w.stored != nil {
		var more []history.State
		more, err = w.stored.State(ctx)
		states = append(states, more...)
	}
	f := admin.HistoryFigures{Up: err == nil, ReplicasExpected: w.history.Replicas()}
	// Who may not ask for the account's limits knows those of the streams alone.
	if used, limit, err := w.history.Account(ctx); err == nil && limit > 0 {
		f.FullRatio = float64(used) / float64(limit)
	}
	for i, s := range states {
		if i == 0 || s.Replicas < f.Replicas {
			f.Replicas = s.Replicas
		}
		f.Messages += s.Messages
		f.Bytes += s.Bytes
		f.Subjects += s.Subjects
		if s.MaxBytes > 0 {
			f.FullRatio = max(f.FullRatio, float64(s.Bytes)/float64(s.MaxBytes))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil { // the last figures stand
		w.holds.Up = false
		return
	}
	w.holds = f
}
