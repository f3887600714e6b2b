package main

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

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/limits"
	"github.com/wsnode/wsnode/relay/version"
)

// podConfig is what one node runs on.
type podConfig struct {
	region     docid.Region
	node       docid.NodeID
	publicURL  string
	listener   net.Listener // the pod closes it; nil: somebody else serves the node
	tls        *tls.Config  // nil: plain
	nats       bus.ConnectConfig
	history    history.Config
	registries map[docid.LicenseRegion]kvpin.Source
	regionURLs map[docid.Region]string // fixed by settings
	lease      time.Duration           // in the registries; 0: the default
	wait       time.Duration           // for a lease in each registry before clients come; 0: none
	relay      relay.Config            // Verifier and settings; the parts are filled in
	metrics    *admin.Metrics          // nil: none
	log        *slog.Logger
}

// pod is a running node with its connections and its server.
type pod struct {
	nc       *nats.Conn
	bus      *bus.Bus
	history  *history.History
	registry *kvpin.Registry
	metrics  *admin.Metrics
	node     atomic.Pointer[relay.Node]
	control  *control.Server
	server   *relay.Server
	served   chan error
	admits   atomic.Bool // clients come to the node

	twins  *twins
	twin   chan error         // the process that this one has to give way to
	cancel context.CancelFunc // ends the tasks
	tasks  sync.WaitGroup
}

// startPod starts from the bottom up. On an error nothing runs.
func startPod(ctx context.Context, c podConfig) (_ *pod, err error) {
	p := &pod{served: make(chan error, 1), twin: make(chan error, 1), metrics: c.metrics}
	background, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	defer func() {
		if err != nil {
			_ = p.stop(context.WithoutCancel(ctx)) // why it did not start says more
		}
	}()
	if c.listener != nil {
		descriptors := limits.NewDescriptors()
		p.server = relay.NewServer(p, relay.ServerConfig{Log: c.log, TrustedProxies: c.relay.Limits.TrustedProxies, Descriptors: descriptors})
		c.relay.Server, c.relay.Limits.Capacity.Descriptors = p.server, descriptors
		go func() { p.served <- p.server.Serve(c.listener, c.tls) }()
	}
	c.nats.Name, c.nats.Log = "wsnode "+string(c.node), c.log
	if p.nc, err = bus.Connect(ctx, c.nats); err != nil {
		return nil, err
	}
	whenUp := func(tell func(*relay.Node)) {
		if n := p.node.Load(); n != nil {
			tell(n)
		}
	}
	p.bus, err = bus.New(p.nc, bus.Config{
		Node: string(c.node), Log: c.log,
		Disturbed: func() { whenUp((*relay.Node).Disturbed) },
	})
	if err != nil {
		return nil, err
	}
	p.twins = newTwins(p.bus, c.node, c.log)
	if other, found := p.twins.ask(ctx); found {
		return nil, &twinError{c.node, other}
	}
	if err = p.twins.answer(); err != nil {
		return nil, err
	}
	c.history.Publisher, c.history.OnMove, c.history.Log = p.bus, p.bus.OnMove, c.log
	c.history.Emptied = func(shard int) { whenUp(func(n *relay.Node) { n.Emptied(shard) }) }
	if p.history, err = history.Open(ctx, p.nc, c.history); err != nil {
		return nil, err
	}
	p.registry, err = kvpin.Open(ctx, kvpin.Config{
		Region: c.region, Node: c.node, URL: c.publicURL, Registries: c.registries, RegionURLs: c.regionURLs, Grace: c.relay.Grace, LeaseTTL: c.lease, Log: c.log,
		Observe: func(op string, d time.Duration, err error) {
			p.metrics.Registry(op, d, errors.Is(err, kvpin.ErrUnavailable))
		},
		Load:     func() (load json.RawMessage) { whenUp(func(n *relay.Node) { load = n.LeaseLoad() }); return load },
		About:    func() kvpin.About { return relay.About(p.bus) },
		Unpinned: func(doc docid.Document, pin kvpin.Pin) { whenUp(func(n *relay.Node) { n.Unpinned(doc, pin) }) },
		Alive: func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (alive bool, err error) {
			err = errStarting
			whenUp(func(n *relay.Node) { alive, err = n.Alive(ctx, doc, epoch) })
			return alive, err
		},
	})
	if err != nil {
		return nil, err
	}
	leases := func() int { held, _ := p.registry.Missing(); return held }
	p.twins.leases.Store(&leases)
	c.relay.Region, c.relay.Node, c.relay.Log, c.relay.Version = c.region, c.node, c.log, version.Read().Version
	c.relay.Bus, c.relay.History, c.relay.Registry = p.bus, p.history, p.registry
	c.relay.Metrics = c.metrics
	c.relay.Compact.SnapshotEvery = p.history.MaxAge() / 2
	n, err := relay.Open(c.relay)
	if err != nil {
		return nil, err
	}
	p.node.Store(n)
	if p.control, err = control.Serve(p.bus.Conn(), n, c.log); err != nil {
		return nil, err
	}
	p.bus.OnMove(p.control.Move)
	p.tasks.Go(func() { p.twin <- p.twins.meet(background, lookForTwin) })
	if err = p.awaitLeases(ctx, c.wait, c.log); err != nil {
		return nil, err
	}
	p.admits.Store(true)
	return p, nil
}

// ended says why a connection of the pod, which ended for good, is not there yet
// again.
func (p *pod) ended() error { return errors.Join(p.bus.Ended(), p.registry.Ended()) }

// awaitLeases waits for a lease in each registry: a pod that reaches none of them can
// open no document, and a rolling update would put it in the place of one that can.
// Once wait is over, one lease is enough: a registry far away that is lost for longer
// must not keep a region from starting nodes. With none it waits on.
func (p *pod) awaitLeases(ctx context.Context, wait time.Duration, log *slog.Logger) error {
	if wait <= 0 {
		return nil
	}
	began, reminded := time.Now(), time.Now()
	for {
		held, missing := p.registry.Missing()
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
		case err := <-p.twin:
			p.twin <- err
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ServeHTTP passes on to the node, once it takes clients.
func (p *pod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.admits.Load() {
		p.node.Load().ServeHTTP(w, r)
		return
	}
	relay.Starting(w, r, version.Read().Version)
}

// Each step of an end has time of its own: a client that never ends its request,
// or a document that cannot be given up, must not cost the lease. Together with
// settleTimeout they are the 15 s that operators are told.
const (
	requestsTimeout = time.Second     // plain requests under way
	nodeTimeout     = 5 * time.Second // sessions, documents, places
	leaseTimeout    = 5 * time.Second // what registries are owed, leases
)

// stop ends the pod from the top down: no new clients, sessions closed, edits
// durable, pins given up, leases given back.
func (p *pod) stop(ctx context.Context) error {
	var errs []error
	step := func(timeout time.Duration, end func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		errs = append(errs, end(ctx))
	}
	p.cancel()
	p.tasks.Wait()
	errs = append(errs, p.closeServer())
	if n := p.node.Load(); n != nil {
		step(nodeTimeout, n.Close)
	}
	if p.control != nil {
		p.control.Close() // last: operators watch a node to its end
	}
	step(leaseTimeout, p.close)
	return errors.Join(errs...)
}

func (p *pod) closeServer() error {
	if p.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestsTimeout)
	defer cancel()
	return errors.Join(p.server.Close(ctx), <-p.served)
}

func (p *pod) close(ctx context.Context) (err error) {
	if p.registry != nil {
		err = p.registry.Close(ctx)
	}
	if p.history != nil {
		p.history.Close()
	}
	if p.bus != nil {
		p.bus.Close()
		p.nc = p.bus.Conn()
	}
	if p.nc != nil {
		p.nc.Close()
	}
	p.metrics.Close()
	return err
}

// logger writes structured logs to standard error.
func logger(w interface{ Write([]byte) (int, error) }, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, wrongFlag("log-level", "%q: expected debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(admin.NewRepeats(slog.NewTextHandler(w, opts), relay.SessionEnded)), nil
	case "json":
		return slog.New(admin.NewRepeats(slog.NewJSONHandler(w, opts), relay.SessionEnded)), nil
	}
	return nil, wrongFlag("log-format", "%q: expected text or json", format)
}

// checkGrace checks the grace period, which the registry's expiry keeps.
func checkGrace(d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return wrongFlag("grace", "%s: expected whole seconds, at least 1s", d)
	}
	return nil
}

// listen takes connections at an address. They need no keepalive of TCP, which would take
// four system calls for each: WebSockets have pings, and requests are bounded in time.
func listen(flag, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	l, err := c.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return l, nil
}
