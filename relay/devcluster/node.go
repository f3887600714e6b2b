package devcluster

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

// Node is a node that can be stopped and started again. Its port stays open all the
// time; while the node is stopped, connections are cut as if nobody listened.
type Node struct {
	ID     docid.NodeID
	URL    string // under which clients reach it
	Region *Region

	cluster  *Cluster
	listener net.Listener // until it is served
	server   *relay.Server
	served   chan error

	changing sync.Mutex // held while the node is started or stopped

	mu       sync.Mutex
	node     *relay.Node // nil: stopped
	stopping bool
	registry *link // to the registries
	nats     *link // to the region
}

// serve serves the node's port until close.
func (n *Node) serve() {
	var h http.Handler = n
	if n.cluster.options.Handler != nil {
		h = n.cluster.options.Handler(n)
	}
	n.server, n.served = relay.NewServer(h, relay.ServerConfig{Log: n.cluster.log}), make(chan error, 1)
	go func() { n.served <- n.server.Serve(n.listener, n.cluster.options.TLS) }()
}

// State is what a node does.
type State string

// The states of a node.
const (
	Up       State = "up"
	Draining State = "draining" // or stopping
	Down     State = "down"
)

// Current returns the running node, nil while it is stopped.
func (n *Node) Current() *relay.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node
}

func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.node == nil:
		return Down
	case n.stopping || n.node.Draining(): // by us, or by wsctl
		return Draining
	}
	return Up
}

// Start starts the node under a new lease, if it is stopped. One that wsctl has
// drained is stopped first.
func (n *Node) Start(ctx context.Context) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	switch n.State() {
	case Up:
		return nil
	case Draining:
		if err := n.end(ctx); err != nil {
			return err
		}
	}
	c := n.cluster
	verifier, err := authn.New(authn.Config{KeySet: c.Issuer.JWKS(), Log: c.log})
	if err != nil {
		return err
	}
	// The registries of all license regions are on the first region's NATS.
	registry, region := newLink(c.Regions[0].NATS), newLink(n.Region.NATS)
	if n.Region.cut.Load() {
		registry.cut()
	}
	registries := map[docid.LicenseRegion]kvpin.Source{}
	for _, license := range c.options.Licenses {
		registries[license] = kvpin.Source{Create: true, Options: []nats.Option{nats.InProcessServer(registry)}}
	}
	o := c.options.Node
	o.Config.Region, o.Config.Node, o.Config.Log = n.Region.Name, n.ID, c.log.With("node", n.ID)
	o.Config.Verifier = verifier
	o.PublicURL, o.NATS, o.Registries = n.Region.URL, bus.ConnectConfig{InProcess: region}, registries
	if c.options.Each != nil {
		c.options.Each(n, &o)
	}
	node, err := relay.Start(ctx, o)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node, n.registry, n.nats = node, registry, region
	return nil
}

// Stop ends the node as SIGTERM does, and returns when it has ended.
func (n *Node) Stop(ctx context.Context) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	return n.end(ctx)
}

// end is Stop for callers that hold changing.
func (n *Node) end(ctx context.Context) error {
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

// Kill ends the node as SIGKILL does: its links are cut first, so that it can
// give nothing back, and its sessions without a close frame.
func (n *Node) Kill() {
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
func (n *Node) close(ctx context.Context) error {
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close(ctx), <-n.served)
	} else {
		errs = append(errs, n.listener.Close())
	}
	return errors.Join(append(errs, n.Stop(ctx))...)
}

// ServeHTTP passes on to the node; while it is stopped, connections are cut as if
// nobody listened.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if node := n.Current(); node != nil {
		node.ServeHTTP(w, r)
		return
	}
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}
