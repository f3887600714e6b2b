package relay

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/history"
)

// figures are what the metrics show, read when somebody asks for them.
func (n *Node) figures() admin.Figures {
	counters, traffic, nats := &n.rooms.Counters, n.traffic.sum(n), n.cfg.Bus.Stats()
	server, dropped := n.cfg.Server.Stats(), &n.rooms.Counters.Dropped
	stateless := &n.rooms.Counters.Stateless
	f := admin.Figures{
		Connections: n.sessions.Len(), Documents: n.docs.Len(),
		Draining: n.unready.Load(), Overloaded: n.gate.gauge.Overloaded(), Load: n.gate.gauge.Load(),
		Handshakes: n.recent.counts(), UnheededForwards: n.gate.unheeded.Load(),
		Arriving: server.Arriving, ArrivalsCut: server.Cut, Declined: server.Declined, AcceptErrors: server.Failures,
		EditsIn: traffic.EditsIn, Appends: counters.EditsOut.Load(),
		FramesIn: traffic.FramesIn, FramesOut: traffic.FramesOut, BytesIn: traffic.BytesIn, BytesOut: traffic.BytesOut,
		Overflows: counters.Frozen.Load(), Gaps: counters.Gaps.Load(), Repairs: counters.Repairs.Load(), Rereads: counters.Rereads.Load(),
		Compactions: counters.Compactions.Load(), Retries: counters.Retries.Load(), Refused: counters.Refused.Load(),
		UnackedBytes: counters.UnackedBytes.Load(), Unsaved: n.rooms.Unsaved(), InFlight: int64(n.cfg.History.InFlight()),
		NATSConnected: n.cfg.Bus.Connected(), NATSReconnects: nats.Reconnects, NATSDropped: nats.Dropped,
		NATSBacklog: nats.Backlog, NATSWaiting: nats.Waiting, Subscriptions: nats.Subscriptions,
		Strangers: len(n.cfg.Registry.Strangers()), Unheard: n.docs.Unheard(),
		AwarenessDropped: map[string]int64{
			"too_large": dropped.Large.Load(), "invalid": dropped.Invalid.Load(), "too_many": dropped.Many.Load(),
			"clock_ahead": dropped.Ahead.Load(), "another_user": dropped.Foreign.Load(),
		},
		Stateless: map[string]int64{
			"passed": stateless.Passed.Load(), "off": stateless.Off.Load(), "too_large": stateless.Large.Load(),
			"invalid": stateless.Invalid.Load(), "readonly": stateless.ReadOnly.Load(),
		},
		History: n.watched.get(), Tenants: n.tenants(), Stores: n.cfg.stores.figures(), Kept: admin.KeptFigures(n.docs.Storing()),
		Places: admin.PlaceFigures(n.gate.places.Stats()), Carried: n.carriedFigures(),
		Moved: n.docs.Moves.Done.Load(), MoveFailures: n.docs.Moves.GivenUp.Load(),
	}
	if v, ok := n.cfg.Verifier.(interface{ Stats() authn.Stats }); ok {
		s := v.Stats()
		f.Tokens = admin.TokenFigures{
			Remembered: s.Remembered, Issuers: s.Issuers, Cached: s.Cached, Fetches: s.Fetches, FetchFailures: s.FetchFailures,
		}
	}
	for _, license := range n.cfg.Registry.LicenseRegions() {
		s := n.cfg.Registry.Stats(license)
		f.Registries = append(f.Registries, admin.RegistryFigures{
			License: string(license), Up: s.Reachable, Reads: s.Reads, Writes: s.Writes, LeasesLost: s.LeasesLost,
			Takeovers: s.Takeovers, Swept: s.Swept, Held: s.Held, Owed: s.Owed, Validating: s.Validating,
		})
	}
	return f
}

// otherTenants stands for all tenants that are not told apart.
const otherTenants = "other"

// tenants counts by tenant, the busiest first; beyond as many as are wanted they
// are one, so that no number of tenants makes the metrics grow.
func (n *Node) tenants() []admin.TenantFigures {
	if n.cfg.Tenants == 0 {
		return nil
	}
	counts := map[docid.Tenant]*admin.TenantFigures{}
	of := func(t docid.Tenant) *admin.TenantFigures {
		if counts[t] == nil {
			counts[t] = &admin.TenantFigures{Tenant: string(t)}
		}
		return counts[t]
	}
	for _, v := range n.sessions.All() {
		of(v.doc.Tenant).Connections++
	}
	for _, d := range n.docs.All() {
		of(d.Name().Tenant).Documents++
	}
	list := make([]admin.TenantFigures, 0, len(counts))
	for _, t := range counts {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b admin.TenantFigures) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.Tenant, b.Tenant))
	})
	if len(list) <= n.cfg.Tenants {
		return list
	}
	others := admin.TenantFigures{Tenant: otherTenants}
	for _, t := range list[n.cfg.Tenants:] {
		others.Connections += t.Connections
		others.Documents += t.Documents
	}
	return append(list[:n.cfg.Tenants], others)
}

// watched is what the node looks at by itself for the metrics.
type watched struct {
	probes atomic.Pointer[nats.Subscription]

	mu      sync.Mutex
	history admin.HistoryFigures
}

func (w *watched) get() admin.HistoryFigures {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history
}

const (
	probeEvery   = 5 * time.Second
	probeTimeout = 2 * time.Second
	historyEvery = time.Minute
	// probeSubject is answered by one node of the region, whichever NATS picks. A
	// clock that two machines share does not exist, hence a round trip.
	probeSubject = "wsn.probe"
)

// watch looks at what costs a request: how far the other nodes are, and what the
// history holds.
func (n *Node) watch(ctx context.Context) {
	n.answerProbes(n.cfg.Bus.Conn())
	n.cfg.Bus.OnMove(n.answerProbes)
	defer func() {
		if sub := n.watched.probes.Load(); sub != nil {
			_ = sub.Unsubscribe() // the connection may be closed already
		}
	}()
	n.lookAtHistory(ctx)
	history := time.NewTicker(historyEvery)
	defer history.Stop()
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-history.C:
			n.lookAtHistory(ctx)
		case <-probe.C:
			n.probe(ctx)
		}
	}
}

// answerProbes answers other nodes on a connection, in place of the one before.
func (n *Node) answerProbes(nc *nats.Conn) {
	sub, err := nc.QueueSubscribe(probeSubject, "nodes", func(m *nats.Msg) {
		if natsconn.IsInbox(m.Reply) {
			_ = m.Respond(nil) // a lost answer is the prober's to notice
		}
	})
	if err != nil {
		n.log.Warn("probes of the other nodes are not answered", "err", err)
		return
	}
	n.watched.probes.Store(sub)
}

// probe measures the way to another node. There may be none.
func (n *Node) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	start := time.Now()
	if _, err := n.cfg.Bus.Request(ctx, probeSubject, nil); err == nil {
		n.cfg.Metrics.FanoutRemote(time.Since(start) / 2)
	}
}

func (n *Node) lookAtHistory(ctx context.Context) {
	states, err := n.cfg.History.State(ctx)
	if stored := n.cfg.storedHistory; err == nil && stored != nil {
		var more []history.State
		more, err = stored.State(ctx)
		states = append(states, more...)
	}
	f := admin.HistoryFigures{Up: err == nil, ReplicasExpected: n.cfg.History.Replicas()}
	// Who may not ask for the account's limits knows those of the streams alone.
	if used, limit, err := n.cfg.History.Account(ctx); err == nil && limit > 0 {
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
	n.watched.mu.Lock()
	defer n.watched.mu.Unlock()
	if err != nil { // the last figures stand
		n.watched.history.Up = false
		return
	}
	n.watched.history = f
}
