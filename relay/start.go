package relay

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/overload"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/version"
)

// Options say what a node runs on. NATS, Registries and, in Config, Region, Node and
// Verifier are required.
type Options struct {
	// Config holds the settings. Its Registry, Bus, History and Server are made by
	// Start.
	Config Config

	// PublicURL is where clients reach the region, such as "wss://eu.example". The
	// region's first node writes it into each registry.
	PublicURL string
	// Listener is served, and closed at the end, by the node. Nil: somebody else
	// serves it; its ServeHTTP needs request targets as they were sent.
	Listener net.Listener
	TLS      *tls.Config // of the listener; nil: plain
	// ProxyProtocol has Listener take connections of Config.Limits.TrustedProxies only,
	// each of which begins with a header of version 2 of the PROXY protocol.
	ProxyProtocol bool

	NATS         bus.ConnectConfig                    // the region's
	Streams      history.Config                       // the region's history
	Registries   map[docid.LicenseRegion]kvpin.Source // by the license region that they serve
	RegionURLs   map[docid.Region]string              // fixed by settings, whatever registries say
	Lease        time.Duration                        // in the registries; 0: 10 s
	RegistryWait time.Duration                        // for a lease in each registry before clients come; 0: none

	// Stores keep documents between their lives, by the license region whose they are;
	// the documents of others end with their last user. The registry names each: Start
	// names one that is empty and takes no clients until an operator has named another.
	// They are closed by the caller, after the node. A store that no other process can
	// use says so by a method Exclusive() bool.
	Stores       map[docid.LicenseRegion]storage.Store
	StoreTimeout time.Duration // of one call, longer by 1 s for each MiB; 0: DefaultStoreTimeout

	// Registerer takes the node's metrics, unless Config.Metrics is set. Nil disables
	// them.
	Registerer prometheus.Registerer
	// TracerProvider takes a trace of each connect. Nil disables them.
	TracerProvider trace.TracerProvider
}

// links are what Start made for a node, from the bottom up.
type links struct {
	nc       *nats.Conn
	bus      *bus.Bus
	history  *history.History
	stored   *history.History // of stored lives; nil: there are none
	registry *kvpin.Registry
	metrics  *admin.Metrics
	control  *control.Server
	server   *Server
	served   chan struct{} // closed when the listener has ended
	front    front

	twins  *twins
	stores *identifying
	failed chan error         // why the node cannot go on
	cancel context.CancelFunc // ends the tasks
	tasks  sync.WaitGroup
}

// front answers for a node that is on its way.
type front struct {
	version string
	node    atomic.Pointer[Node]
	admits  atomic.Bool // clients come to the node
}

// ServeHTTP passes on to the node, once it takes clients.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.admits.Load() {
		f.node.Load().ServeHTTP(w, r)
		return
	}
	starting(w, r, f.version)
}

// whenUp tells the node, once there is one.
func (f *front) whenUp(tell func(*Node)) {
	if n := f.node.Load(); n != nil {
		tell(n)
	}
}

// errStarting is the answer to a question that comes before the node is there.
var errStarting = errors.New("starting")

// Start connects to NATS and the registries, opens a node on them and serves it. It
// returns when the node takes clients; on an error, or when ctx ends before that,
// nothing runs. Close ends the node with all that Start made.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if o.Config.Log == nil {
		o.Config.Log = slog.New(slog.DiscardHandler)
	}
	if o.Config.Version == "" {
		o.Config.Version = version.Read().Version
	}
	if o.Config.Metrics == nil && o.Registerer != nil {
		o.Config.Metrics = admin.NewMetrics(o.Registerer, o.Config.Node, o.Config.Region)
	}
	o.Config.tracer = newTracer(o.TracerProvider)
	l := &links{served: make(chan struct{}), failed: make(chan error, 2), metrics: o.Config.Metrics}
	background, cancel := context.WithCancel(context.Background())
	l.cancel, l.front.version = cancel, o.Config.Version
	defer func() {
		if err != nil {
			_ = l.stop(context.WithoutCancel(ctx)) // why it did not start says more
		}
	}()
	l.serve(&o)
	if err = l.connect(ctx, &o); err != nil {
		return nil, err
	}
	n, err := Open(o.Config)
	if err != nil {
		return nil, err
	}
	n.links = l
	l.stores = newIdentifying(n.cfg.stores, l.registry, n.log)
	l.front.node.Store(n)
	if l.control, err = control.Serve(l.bus.Conn(), n.Operators(), n.log); err != nil {
		return nil, err
	}
	l.bus.OnMove(l.control.Move)
	l.tasks.Go(func() {
		if twin := l.twins.meet(background, lookForTwin); twin != nil {
			l.failed <- twin
		}
	})
	l.tasks.Go(func() { l.stores.run(background) })
	if err = l.awaitLeases(ctx, o.RegistryWait, n.log); err != nil {
		return nil, err
	}
	if err = l.stores.wait(ctx, l.failed); err != nil {
		return nil, err
	}
	l.front.admits.Store(true)
	return n, nil
}

// serve answers clients from the beginning, so that they hear that the node starts.
func (l *links) serve(o *Options) {
	if o.Listener == nil {
		return
	}
	descriptors := overload.NewDescriptors()
	l.server = NewServer(&l.front, ServerConfig{Log: o.Config.Log, TrustedProxies: o.Config.Limits.TrustedProxies, ProxyProtocol: o.ProxyProtocol, Descriptors: descriptors})
	o.Config.Server, o.Config.Limits.Capacity.Descriptors = l.server, descriptors
	go func() {
		defer close(l.served)
		if err := l.server.Serve(o.Listener, o.TLS); err != nil {
			l.failed <- fmt.Errorf("the listener ended: %w", err)
		}
	}()
}

// connect makes what the node stands on.
func (l *links) connect(ctx context.Context, o *Options) (err error) {
	log, node := o.Config.Log, o.Config.Node
	o.NATS.Name, o.NATS.Log = "wsnode "+string(node), log
	o.Config.stores = guardStores(o)
	if l.nc, err = bus.Connect(ctx, o.NATS); err != nil {
		return err
	}
	l.bus, err = bus.New(l.nc, bus.Config{
		Node: node, Log: log,
		Disturbed: func() { l.front.whenUp((*Node).disturbed) },
	})
	if err != nil {
		return err
	}
	l.twins = newTwins(l.bus, node, log)
	if other, found := l.twins.ask(ctx); found {
		return &twinError{node, other}
	}
	if err = l.twins.answer(); err != nil {
		return err
	}
	o.Streams.Publisher, o.Streams.OnMove, o.Streams.Log = l.bus, l.bus.OnMove, log
	o.Streams.Emptied = func(shard int) { l.front.whenUp(func(n *Node) { n.emptied(shard) }) }
	if l.history, err = history.Open(ctx, l.nc, o.Streams); err != nil {
		return err
	}
	if len(o.Stores) > 0 {
		streams := o.Streams
		streams.Stored, streams.Shards, streams.MaxAge = true, l.history.Shards(), 0
		if l.stored, err = history.Open(ctx, l.nc, streams); err != nil {
			return err
		}
		if err = (history.Lives{Plain: l.history, Stored: l.stored}).Check(); err != nil {
			return err
		}
		o.Config.storedHistory = l.stored
	}
	if l.registry, err = kvpin.Open(ctx, l.registryConfig(o)); err != nil {
		return err
	}
	leases := func() int { held, _ := l.registry.Missing(); return held }
	l.twins.leases.Store(&leases)
	o.Config.Bus, o.Config.History, o.Config.Registry = l.bus, l.history, l.registry
	o.Config.Compact.SnapshotEvery = l.history.MaxAge() / 2
	return nil
}

func (l *links) registryConfig(o *Options) kvpin.Config {
	return kvpin.Config{
		Region: o.Config.Region, Node: o.Config.Node, URL: o.PublicURL, Registries: o.Registries, RegionURLs: o.RegionURLs,
		Grace: o.Config.Grace, LeaseTTL: o.Lease, Log: o.Config.Log,
		Observe: func(op string, d time.Duration, err error) {
			l.metrics.Registry(op, d, errors.Is(err, kvpin.ErrUnavailable))
		},
		Load:     func() (load json.RawMessage) { l.front.whenUp(func(n *Node) { load = n.leaseLoad() }); return load },
		About:    func() kvpin.About { return about(l.bus) },
		Store:    o.Config.stores.named,
		Unpinned: func(doc docid.Document, pin kvpin.Pin) { l.front.whenUp(func(n *Node) { n.unpinned(doc, pin) }) },
		Swept:    func(license docid.LicenseRegion) { l.front.whenUp(func(n *Node) { n.docs.Swept(license) }) },
		Owes: func(license docid.LicenseRegion) (owes bool) {
			l.front.whenUp(func(n *Node) { owes = n.docs.Owes(license) })
			return owes
		},
		Covered: func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (covered bool, err error) {
			err = errStarting
			l.front.whenUp(func(n *Node) { covered, err = n.docs.Covered(ctx, doc, epoch) })
			return covered, err
		},
		Alive: func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (alive bool, err error) {
			err = errStarting
			l.front.whenUp(func(n *Node) { alive, err = n.alive(ctx, doc, epoch) })
			return alive, err
		},
	}
}

// Ended says why a connection of the node, which ended for good, is not there yet
// again; nil while all are there.
func (n *Node) Ended() error {
	if n.links == nil {
		return nil
	}
	return errors.Join(n.links.bus.Ended(), n.links.registry.Ended())
}

// whyUnused says why a store is not used yet; nil: it is, or nobody knows.
func (n *Node) whyUnused(license docid.LicenseRegion) error {
	if n.links == nil || n.links.stores == nil {
		return nil
	}
	return n.links.stores.why(license)
}

// Failed is told once why a node that Start started cannot go on: its listener ended,
// or another process runs as the same node. Drain and Close it then.
func (n *Node) Failed() <-chan error {
	if n.links == nil {
		return nil
	}
	return n.links.failed
}

// awaitLeases waits for a lease in each registry: a node that reaches none of them can
// open no document, and a rolling update would put it in the place of one that can.
// Once wait is over, one lease is enough: a registry far away that is lost for longer
// must not keep a region from starting nodes. With none it waits on.
func (l *links) awaitLeases(ctx context.Context, wait time.Duration, log *slog.Logger) error {
	if wait <= 0 {
		return nil
	}
	began, reminded := time.Now(), time.Now()
	for {
		held, missing := l.registry.Missing()
		if missing == nil {
			return nil
		}
		if held > 0 && time.Since(began) >= wait {
			log.Warn("taking clients without a lease in each registry", "error", missing)
			return nil
		}
		if time.Since(reminded) >= natsconn.RemindEvery {
			reminded = time.Now()
			log.Warn("taking no clients yet: waiting for a lease in each registry", "error", missing)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a lease in each registry: %w", missing)
		case err := <-l.failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Each step of an end has time of its own: a client that never ends its request,
// or a document that cannot be given up, must not cost the lease. Together with
// releaseTimeout they are the 15 s that operators are told.
const (
	requestsTimeout = time.Second     // plain requests under way
	nodeTimeout     = 5 * time.Second // sessions, documents, places
	leaseTimeout    = 5 * time.Second // what registries are owed, leases

	// CloseTimeout is how long Close of a node that Start started takes at most.
	CloseTimeout = requestsTimeout + nodeTimeout + leaseTimeout
)

// stop ends the node and its links from the top down: no new clients, sessions closed, edits
// durable, pins given up, leases given back.
func (l *links) stop(ctx context.Context) error {
	var errs []error
	step := func(timeout time.Duration, end func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		errs = append(errs, end(ctx))
	}
	l.cancel()
	l.tasks.Wait()
	errs = append(errs, l.closeServer())
	if n := l.front.node.Load(); n != nil {
		step(nodeTimeout, n.end)
	}
	if l.control != nil {
		l.control.Close() // last: operators watch a node to its end
	}
	step(leaseTimeout, l.close)
	return errors.Join(errs...)
}

func (l *links) closeServer() error {
	if l.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestsTimeout)
	defer cancel()
	err := l.server.Close(ctx)
	<-l.served
	return err
}

func (l *links) close(ctx context.Context) (err error) {
	if l.registry != nil {
		err = l.registry.Close(ctx)
	}
	for _, h := range []*history.History{l.history, l.stored} {
		if h != nil {
			h.Close()
		}
	}
	if l.bus != nil {
		l.bus.Close()
		l.nc = l.bus.Conn()
	}
	if l.nc != nil {
		l.nc.Close()
	}
	l.metrics.Close()
	return err
}
