// Package relay is a node: it takes client connections, finds out where their
// documents live, and runs those that live here. relay/live is the life of the documents.
//
// start.go makes a node and all that it stands on. connect.go and admit.go are the connect
// path from top to bottom, answers.go what errors mean to clients; gate.go has the limits in
// front, residency.go where a document may be, clients.go who is here, recent.go who was.
// lifetime.go is start, drain and end, http.go the API; operate*.go and trace.go are what
// operators are answered; health.go, figures.go and watch.go say how the node is.
package relay

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Verifier turns a token into a grant; *authn.Verifier is one.
type Verifier interface {
	VerifyFor(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error)
}

// Config says how a node behaves and, for Open, what it is made of. Region, Node and
// Verifier are required, and for Open Registry, Bus and History too; zero values of
// the rest mean the defaults given.
type Config struct {
	Region   docid.Region
	Node     docid.NodeID
	Verifier Verifier
	Registry *kvpin.Registry
	Bus      *bus.Bus
	History  *history.History
	Log      *slog.Logger

	Version string // of the software; Start takes this module's for "". For operators and in /health

	Grace        time.Duration  // 10 s: as in the registry's config
	SweepEvery   time.Duration  // 10 min: how often a region looks for histories that crashes left behind
	NoQueryToken bool           // do not take tokens from the query
	Elsewhere    apps.Elsewhere // what becomes of clients of y-websocket whose document is elsewhere; "": apps.Redirect
	Conns        conn.Config
	Sessions     session.Config
	Store        ystore.Limits
	Compact      room.Config // BatchWindow to MaxUnackedBytes are used
	Limits       Limits

	// Apps says what holds for single apps, and may change its mind: apps.File.Of, say. Nil:
	// the defaults, for all. Is called at each connect.
	Apps func(docid.AppID) apps.Settings

	// Stateless is for apps of which Apps says nothing about that. Empty: off.
	Stateless apps.Stateless

	// Of documents in stores: see live.Options.
	StoreInterval time.Duration // 60 s
	StoreFirst    time.Duration // 5 s
	StoreBytes    int64         // 256 MiB

	Server  *Server        // that serves the node, for the metrics; nil: another
	Metrics *admin.Metrics // nil: none
	Tenants int            // how many tenants the metrics tell apart; 0: none

	// Refused is told of every handshake that is answered with a close code. May be
	// nil; must not block.
	Refused func(doc docid.Document, code int, reason string)

	stores        stores           // by Start, of Options.Stores
	storedHistory *history.History // of stored lives; nil: there are none
	tracer        trace.Tracer     // by Start, of Options.TracerProvider; nil: connects are not traced

	aliveSilent, aliveWithin time.Duration // for tests; see alive.go
}

// Node is one node of a region. Its methods may be called concurrently. What it is made of
// looks after itself; the node puts it together, and takes clients from their handshake to
// a seat, here or where their document is.
type Node struct {
	cfg   Config
	links *links // nil: of a node that was opened on parts of its caller
	log   *slog.Logger
	life  lifetime

	// Who comes in, and who is here.
	gate        *gate
	homes       *homes
	clients     clients
	aliveChecks aliveChecks
	recent      recent

	// Where clients go.
	rooms     *room.Rooms
	docs      *live.Documents
	carrier   *carry.Carrier
	keepalive *conn.Keepalive

	// What looks at the node.
	api       *api
	operator  *operator
	health    *health
	strangers strangers
	watch     watch
}

// handshakeTimeout bounds the connect path up to the room: a client hears within
// it that it cannot be served.
const handshakeTimeout = 10 * time.Second

// Open starts a node. Close ends it.
func Open(cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Grace == 0 {
		cfg.Grace = 10 * time.Second
	}
	if cfg.SweepEvery == 0 {
		cfg.SweepEvery = 10 * time.Minute
	}
	cfg.Sessions.SetDefaults()
	cfg.Conns.LargestMessage = cfg.Sessions.MaxDocumentBytes
	cfg.Conns.SetDefaults()
	cfg.Conns.Unmeasured = min(cfg.Conns.Unmeasured, cfg.Sessions.MaxMessageBytes, cfg.Sessions.MaxDocumentBytes)
	n := &Node{cfg: cfg, log: cfg.Log}
	if err := n.open(time.Now()); err != nil {
		n.life.abandon()
		return nil, err
	}
	return n, nil
}

// open makes what a node consists of, and runs it. After an error nothing runs.
func (n *Node) open(started time.Time) (err error) {
	cfg := &n.cfg
	n.life.begin()
	n.clients.init(started)
	n.recent.init(cfg)
	n.homes = newHomes(cfg)
	n.keepalive = conn.NewKeepalive(n.life.ctx)
	cfg.Sessions.Applied = cfg.Metrics.FanoutLocal
	if n.gate, err = openGate(cfg); err != nil {
		return err
	}
	if n.rooms, err = room.Open(n.roomConfig()); err != nil {
		return errors.Join(err, n.gate.close(n.life.ctx))
	}
	if err = n.aliveChecks.open(cfg, &n.clients, &n.life); err != nil {
		n.rooms.Close()
		return errors.Join(err, n.gate.close(n.life.ctx))
	}
	n.carrier = newCarrier(cfg)
	n.docs = live.New(n.life.ctx, n.life.shutdown, n.liveOptions(started))
	n.openObservers(started)
	cfg.Registry.Attach(n.docs.Follower())
	n.run()
	return nil
}

// openObservers makes what looks at the node, for clients, operators and metrics.
func (n *Node) openObservers(started time.Time) {
	cfg := &n.cfg
	n.strangers = strangers{registry: cfg.Registry, started: started, log: n.log}
	n.health = &health{
		life: &n.life, bus: cfg.Bus, registry: cfg.Registry, stores: cfg.stores, rooms: n.rooms, gauge: n.gate.gauge, strangers: &n.strangers,
	}
	n.api = &api{cfg: cfg, log: n.log, gate: n.gate, homes: n.homes, docs: n.docs, recent: &n.recent, health: n.health}
	n.operator = &operator{
		storeOperator: newStoreOperator(cfg, &n.life, n.docs, n.homes.keepsDeleted, n.whyUnused),
		log:           n.log, started: started, health: n.health, rooms: n.rooms, gate: n.gate, homes: n.homes,
		clients: &n.clients, recent: &n.recent, drain: n.Drain,
	}
	n.watch.init(cfg)
}

// run starts the goroutines of the node.
func (n *Node) run() {
	life := &n.life
	life.Go(n.keepalive.Run)
	life.Go(func() { n.docs.Run(life.ctx) })
	life.Go(func() { n.strangers.run(life.ctx) })
	life.Go(func() { n.gate.gauge.Run(life.ctx) })
	life.Go(func() { n.gate.ops.Run(life.ctx) })
	life.Go(func() { n.carrier.Run(life.ctx) })
	if n.cfg.Apps != nil {
		life.Go(func() { n.homes.evict(life.ctx, n.docs) })
	}
	if n.cfg.Metrics != nil {
		n.cfg.Metrics.Watch(n.cfg.Version, oplog.Version, n.figures)
		life.Go(func() { n.watch.run(life.ctx) })
	}
}

// roomConfig is what the rooms of the node live on.
func (n *Node) roomConfig() room.Config {
	cfg := &n.cfg
	rooms := cfg.Compact
	rooms.Durable, rooms.Answered, rooms.Relaxed = cfg.Metrics.Durable, cfg.Metrics.Answered, cfg.History.Relaxed()
	rooms.MaxClients, rooms.MaxAppBytes = cfg.Limits.AwarenessClients, cfg.Limits.AppBytes
	rooms.Stateless = func(app docid.AppID) bool { return cfg.stateless(app) == apps.StatelessBroadcast }
	if of := cfg.Apps; of != nil {
		rooms.AckStored = func(app docid.AppID) bool { return of(app).Ack == apps.AckStored }
	}
	rooms.Bus, rooms.History, rooms.Log, rooms.Limits = cfg.Bus, cfg.lives(), cfg.Log, cfg.Store
	rooms.Heavy = n.gate.turns.Do
	return rooms
}

// histories are what rooms and documents need of them.
type histories interface {
	room.History
	live.History
}

// stateless is what becomes of the app's stateless messages.
func (cfg *Config) stateless(app docid.AppID) apps.Stateless {
	if cfg.Apps != nil {
		if s := cfg.Apps(app).Stateless; s != "" {
			return s
		}
	}
	return cfg.Stateless
}

// lives are the histories of the node's documents.
func (cfg *Config) lives() histories {
	if cfg.storedHistory == nil {
		return cfg.History
	}
	return history.Lives{Plain: cfg.History, Stored: cfg.storedHistory}
}

// liveOptions is what the documents of the node live on.
func (n *Node) liveOptions(started time.Time) live.Options {
	o := live.Options{
		Registry: n.cfg.Registry, Rooms: n.rooms, History: n.cfg.lives(), Bus: n.cfg.Bus, Log: n.log,
		Node: n.cfg.Node, Region: n.cfg.Region, Started: started, Grace: n.cfg.Grace, SweepEvery: n.cfg.SweepEvery,
		StoreInterval: n.cfg.StoreInterval, StoreFirst: n.cfg.StoreFirst, StoreBytes: n.cfg.StoreBytes,
		Admit: func(app docid.AppID) error {
			if n.gate.claims != nil && !n.gate.claims.Take(app) {
				return errOverloaded
			}
			if !n.homes.here(app) {
				return errNoResidence
			}
			return nil
		},
		Redirect:  n.homes.redirect,
		Elsewhere: n.homes.elsewhere,
		Dismiss: func(r *room.Room, why error) {
			told := answer(why)
			r.CloseAll(told.code, told.reason)
		},
		Draining: n.life.draining,
		Go:       n.life.Go,
	}
	if len(n.cfg.stores) > 0 {
		o.Store, o.KeepsDeleted = n.cfg.stores.of, n.homes.keepsDeleted
	}
	return o
}

// disturbed is for bus.Config: messages may have been lost.
func (n *Node) disturbed() { n.rooms.Disturbed() }

// emptied is for history.Config: a stream lost what it held.
func (n *Node) emptied(shard int) { n.rooms.Emptied(n.life.ctx, shard) }

// unpinned is for kvpin.Config: a document is unpinned without a room's doing.
func (n *Node) unpinned(doc docid.Document, pin kvpin.Pin) { n.docs.Unpinned(doc, pin) }

// alive is for kvpin.Config: whether another node of the region has a document open.
func (n *Node) alive(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
	return n.docs.Alive(ctx, doc, epoch)
}

// Lookup returns the pin of a document, as its registry has it.
func (n *Node) Lookup(ctx context.Context, doc docid.Document) (kvpin.Pin, kvpin.State, error) {
	return n.cfg.Registry.Lookup(ctx, doc)
}

// Counters are what the node counts about its rooms.
func (n *Node) Counters() *room.Counters { return &n.rooms.Counters }

// errDraining is what joiners get from a node that is on its way out.
var errDraining = errors.New("the node is draining")

// Drain takes the node out of service: it turns unhealthy, keeps serving for
// delay while balancers notice, then ends the sessions with 1012, evenly over
// spread, so that the other nodes see no storm. It returns when the last document
// has been given up, or ctx ends.
func (n *Node) Drain(ctx context.Context, delay, spread time.Duration) error {
	n.life.turnUnready()
	n.cfg.Registry.Drain()
	pause.For(ctx, delay)
	n.life.drain()
	ends := n.clients.all()
	for i, s := range ends {
		s.end(closecode.Restart, closecode.ReasonRestart)
		if i < len(ends)-1 {
			pause.For(ctx, spread/time.Duration(len(ends)))
		}
	}
	return n.docs.AwaitEmpty(ctx)
}

// closeLinger is how long clients have to answer the close frame of a node that
// ends.
const closeLinger = 300 * time.Millisecond

// Close ends the node: sessions that are left get 1012, documents are given up
// as far as ctx allows, and what Start made ends, within times of its own.
func (n *Node) Close(ctx context.Context) error {
	if n.links != nil {
		return n.links.stop(ctx)
	}
	return n.end(ctx)
}

// end ends the node itself.
func (n *Node) end(ctx context.Context) error {
	n.life.drain()
	for _, s := range n.clients.all() {
		s.end(closecode.Restart, closecode.ReasonRestart)
	}
	cutting := time.AfterFunc(closeLinger, func() {
		for _, s := range n.clients.all() {
			s.cut()
		}
	})
	defer cutting.Stop()
	stop := context.AfterFunc(ctx, n.life.endShutdown)
	defer n.life.endShutdown()
	defer stop()
	err := n.docs.AwaitEmpty(ctx)
	n.aliveChecks.close()
	n.life.end()
	n.rooms.Close()
	return errors.Join(err, n.gate.close(ctx))
}

// Draining reports whether the node is on its way out.
func (n *Node) Draining() bool { return n.life.unready() }

// leaseLoad is what the node says about itself in its leases.
func (n *Node) leaseLoad() json.RawMessage {
	load, _ := json.Marshal(control.LeaseLoad{ // cannot fail
		Version: n.cfg.Version, Connections: n.clients.len(), Documents: n.docs.Len(), Load: n.gate.gauge.Load(),
	})
	return load
}
