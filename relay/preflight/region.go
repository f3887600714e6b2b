package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
)

// Region is the NATS of a region, with the history of its live documents.
type Region struct {
	URL     string
	Options []nats.Option
	Domain  string       // of JetStream, under which the history streams are found
	Node    docid.NodeID // that wants to run there; empty: an operator looks, who may do less
	// Stored has the histories of stored lives looked at, too.
	Stored bool
	// Replicas is how many the history must have. 0: nobody asked, and fewer than three
	// are weak.
	Replicas int
	Timeout  time.Duration // 0: DefaultTimeout
	Now      Now
}

// goodReplicas survive the loss of a server.
const goodReplicas = 3

// stranger is a document that nobody has: its subjects lead nowhere.
var stranger = docid.Document{License: "aws-check", Tenant: "wsnode", App: "check", Name: "check"}

// strangersEpoch is its life.
const strangersEpoch = "check"

// Check looks at the region. cluster names the NATS cluster that it found, if any.
func (g Region) Check(ctx context.Context) (findings []Finding, cluster string) {
	if g.Timeout == 0 {
		g.Timeout = DefaultTimeout
	}
	r := &report{}
	nc, err := connect(g.URL, g.Options, g.Timeout)
	if err != nil {
		r.add("NATS"+natsconn.At(g.URL), Wrong, mendConnection(err), "connect to NATS%s: %v", natsconn.At(g.URL), err)
		return r.findings, ""
	}
	defer nc.Close()
	if err := kvpin.CheckServer(nc); err != nil {
		r.add("NATS"+natsconn.At(g.URL), Wrong, "upgrade the servers", "%v", err)
		return r.findings, ""
	}
	cluster = bus.ClusterOf(nc)
	r.add("NATS"+natsconn.At(g.URL), OK, "", "cluster %s, version %s", cluster, nc.ConnectedServerVersion())
	if g.Node != "" {
		// First: a request that is denied gets no answer, which looks like a fault.
		g.rights(ctx, nc).judge(r, "the user of the region's NATS", "POD_RIGHTS")
	}
	g.history(ctx, r, nc, false)
	if g.Stored {
		g.history(ctx, r, nc, true)
	}
	return r.findings, cluster
}

// history looks at the streams of one kind.
func (g Region) history(ctx context.Context, r *report, nc *nats.Conn, stored bool) {
	check, first := "history", history.StreamName(0)
	if stored {
		check, first = "stored history", history.StoredStreamName(0)
	}
	within, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	sent := g.Now.now()
	streams, err := history.Look(within, nc, history.Config{Domain: g.Domain, Stored: stored})
	const mend = "wsctl history init; or name the right JetStream domain by --history-domain"
	switch missing := errors.Is(err, history.ErrStreamMissing); {
	case err == nil:
	case missing && g.Node != "" && mayCreate(ctx, nc, g.Domain, first, g.Timeout):
		r.add(check, OK, "", "there is none yet; the first node creates it")
	case missing && g.Node == "":
		r.add(check, Weak, mend+", or start a node that may create it", "%v", err)
	case missing:
		r.add(check, Wrong, mend, "%v", err)
	default:
		r.add(check, Wrong, "see whether JetStream is on, and --history-domain", "%v", err)
	}
	for i, s := range streams {
		name := s.Info.Config.Name
		if s.Unfit != nil {
			r.add(check, Wrong, "nats stream edit "+name, "%v", s.Unfit)
		} else {
			r.add(check, OK, "", "%s is as nodes need it, %d bytes of %d messages", name, s.Info.State.Bytes, s.Info.State.Msgs)
		}
		r.replicas(check, s.Info, g.Replicas, history.Description)
		if i == 0 && !stored && !s.Info.TimeStamp.IsZero() {
			// Asking for one stream takes about a share of what all of them took.
			half := g.Now.now().Sub(sent) / 2
			r.clock("clock", "that of the leader of "+name, s.Info.TimeStamp.Sub(sent.Add(half)), half)
		}
	}
}

// rights tries out what a node does on its region's NATS.
func (g Region) rights(ctx context.Context, nc *nats.Conn) *rights {
	r := &rights{nc: nc, timeout: g.Timeout}
	node := g.Node
	r.subscribe(ctx, stranger.UpdatesSubject(0, strangersEpoch), stranger.SignalsSubject(), bus.PodSubject(node),
		"wsn.ops", "wsn.probe", "wsn.alive", "wsn.swept", "wsn.twin."+string(node),
		control.Subject(control.InfoVerb, node), control.Subject(control.DrainVerb, node), "$SRV.PING")
	r.publish(ctx, stranger.SignalsSubject(), bus.PodSubject("wsnode-check"))
	g.streamRights(ctx, r, history.StreamName(0), strangersEpoch)
	if g.Stored {
		g.streamRights(ctx, r, history.StoredStreamName(0), docid.NewStoredEpoch(strangersEpoch))
	}
	return r
}

// streamRights tries out what a node does with a stream that has updates.
func (g Region) streamRights(ctx context.Context, r *rights, stream, epoch string) {
	api, subject := apiPrefix(g.Domain), stranger.UpdatesSubject(0, epoch)
	if there := r.ask(ctx, api+"STREAM.INFO."+stream, ""); !there {
		return // nobody takes the rest
	}
	last := fmt.Sprintf(`{"last_by_subj":%q}`, subject)
	r.write(ctx, subject)
	r.ask(ctx, api+"STREAM.MSG.GET."+stream, last)
	r.ask(ctx, api+"DIRECT.GET."+stream, last)
	r.ask(ctx, api+"STREAM.PURGE."+stream, fmt.Sprintf(`{"filter":%q}`, subject))
}

// mayCreate asks for a stream of one name under another, which no server creates.
func mayCreate(ctx context.Context, nc *nats.Conn, domain, stream string, timeout time.Duration) bool {
	r := &rights{nc: nc, timeout: timeout}
	r.ask(ctx, apiPrefix(domain)+"STREAM.CREATE."+stream, `{"name":"wsnode-check"}`)
	return len(r.missing) == 0
}

// replicas judges how many a stream has, and how they are.
func (r *report) replicas(of string, info *jetstream.StreamInfo, asked int, description string) {
	name, have := info.Config.Name, max(info.Config.Replicas, 1)
	check := "replicas"
	if of != "" {
		check = of + " replicas"
	}
	// Without the description the nats command takes away what the stream has.
	edit := fmt.Sprintf("nats stream edit %s --replicas %d --description %q", name, max(asked, goodReplicas), description)
	switch {
	case have < asked:
		r.add(check, Wrong, edit, "%s has %s, and this node is told %d: a lost server can lose edits", name, plural(have, "replica"), asked)
	case asked == 0 && have < goodReplicas:
		r.add(check, Weak, "on a cluster of three: "+edit, "%s: whatever that server loses is lost", plural(have, "replica"))
	default:
		r.add(check, OK, "", "%d", have)
	}
	r.measured(map[string]float64{"replicas": float64(have)})
	if info.Cluster == nil {
		return
	}
	if info.Cluster.Leader == "" {
		r.add("leader", Wrong, "bring back a majority of its servers", "%s has no leader: nothing can be written", name)
	}
	for _, peer := range info.Cluster.Replicas {
		switch {
		case peer.Offline:
			r.add("replica "+peer.Name, Wrong, "bring the server back, or remove it: nats server raft peer-remove", "offline for %s", peer.Active.Round(time.Second))
		case !peer.Current:
			r.add("replica "+peer.Name, Weak, "wait; if it stays so, see the server's disk and network", "behind by %s", plural(int(peer.Lag), "operation"))
		}
	}
}
