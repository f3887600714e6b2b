package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/bus"
)

// devNode is a node that can be stopped and started again. Its port stays open
// all the time, since the playground must outlive what it does.
type devNode struct {
	dev    *dev
	region *devRegion
	id     docid.NodeID
	addr   string // what it listens on
	url    string
	server *relay.Server
	served chan error

	changing sync.Mutex // held while the node is started or stopped

	mu       sync.Mutex
	node     *relay.Node // nil: stopped
	stopping bool
	registry *link // to the registries
	nats     *link // to the region
}

// listen serves the node's port until close.
func (n *devNode) listen(l net.Listener) {
	n.server, n.served = relay.NewServer(n.dev.endpoints(n), relay.ServerConfig{Log: n.dev.log}), make(chan error, 1)
	go func() { n.served <- n.server.Serve(l, n.dev.tls) }()
}

// current returns the running node, nil while it is stopped.
func (n *devNode) current() *relay.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node
}

func (n *devNode) state() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.node == nil:
		return "down"
	case n.stopping || n.node.Draining(): // by us, or by wsctl
		return "draining"
	}
	return "up"
}

// start starts the node under a new lease, if it is stopped. One that wsctl has
// drained is stopped first.
func (n *devNode) start(ctx context.Context) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	switch n.state() {
	case "up":
		return nil
	case "draining":
		if err := n.end(ctx); err != nil {
			return err
		}
	}
	d := n.dev
	verifier, err := authn.New(authn.Config{KeySet: d.issuer.JWKS(), Log: d.log})
	if err != nil {
		return err
	}
	// The registries of all license regions are on the first region's NATS.
	registry, region := newLink(d.regions[0].nats), newLink(n.region.nats)
	if n.region.cut.Load() {
		registry.cut()
	}
	registries := map[docid.LicenseRegion]kvpin.Source{}
	for _, license := range licenseRegions {
		registries[license] = kvpin.Source{Create: true, Options: []nats.Option{nats.InProcessServer(registry)}}
	}
	o := d.options
	o.Config.Region, o.Config.Node, o.Config.Log = n.region.name, n.id, d.log.With("node", n.id)
	o.Config.Verifier, o.Config.Grace = verifier, d.flags.grace
	o.Config.Metrics, o.Config.Tenants = newMetrics(d.admin, n.id, n.region.name), d.flags.admin.tenants
	o.Config.Refused = func(doc docid.Document, code int, reason string) { d.events.refused(n, doc, code, reason) }
	o.PublicURL, o.NATS, o.Registries = n.region.url, bus.ConnectConfig{InProcess: region}, registries
	node, err := relay.Start(ctx, o)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node, n.registry, n.nats = node, registry, region
	return nil
}

// stop ends the node as SIGTERM does, and returns when it has ended.
func (n *devNode) stop(ctx context.Context) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	return n.end(ctx)
}

// end is stop for callers that hold changing.
func (n *devNode) end(ctx context.Context) error {
	n.mu.Lock()
	node := n.node
	n.stopping = node != nil
	n.mu.Unlock()
	if node == nil {
		return nil
	}
	err := node.Close(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node, n.stopping = nil, false
	return err
}

// killTimeout bounds the clearing up behind a killed node.
const killTimeout = 200 * time.Millisecond

// kill ends the node as SIGKILL does: its links are cut first, so that it can
// give nothing back, and its sessions without a close frame.
func (n *devNode) kill() {
	n.changing.Lock()
	defer n.changing.Unlock()
	n.mu.Lock()
	node := n.node
	if node != nil {
		n.registry.cut()
		n.nats.cut()
	}
	n.node = nil
	n.mu.Unlock()
	if node == nil {
		return
	}
	node.Cut(func(relay.Presence) bool { return true })
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	_ = node.Close(ctx) // it cannot end well, and is not meant to
}

// close ends the node and its port.
func (n *devNode) close(ctx context.Context) error {
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close(ctx), <-n.served)
	}
	return errors.Join(append(errs, n.stop(ctx))...)
}

// ServeHTTP passes on to the node; while it is stopped, connections are cut as if
// nobody listened.
func (n *devNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if node := n.current(); node != nil {
		node.ServeHTTP(w, r)
		return
	}
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}
