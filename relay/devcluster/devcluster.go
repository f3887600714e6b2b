// Package devcluster runs a whole cluster in one process: regions, each with an embedded
// NATS server and its nodes, the registries on the first region's NATS, and an issuer of
// tokens. It is what "wsnode dev" runs, and gives a test a real region in one line:
//
//	url, token := devcluster.ForTest(t).Client(authn.Subject{Tenant: "acme", App: "notes"})
package devcluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/natsd"
)

// Options say what a cluster consists of. The zero value is one node of a region "local"
// on a free port of loopback, which keeps nothing.
type Options struct {
	Regions  []docid.Region        // default: "local"
	Nodes    int                   // of each region; default: 1
	Licenses []docid.LicenseRegion // the license regions; default: "aws-eu-west-1"
	Issuer   *authn.Issuer         // of the tokens that are taken; default: one of the cluster's own
	Log      *slog.Logger          // default: none

	// Node holds what all nodes have in common. The cluster sets region, node, verifier,
	// public URL, NATS and registries; the caller closes what Stores holds, after Close.
	Node relay.Options
	// Each changes the options of one node before each of its starts. May be nil.
	Each func(*Node, *relay.Options)

	// Listen opens the port of a node and says by which URL clients reach it. Nil: a free
	// one of loopback. Regions and nodes count from 0.
	Listen func(region, node int) (l net.Listener, url string, err error)
	TLS    *tls.Config // of all ports; nil: plain
	// Handler serves a node's port; what it is not concerned with it passes on to the node.
	// Nil: the node alone.
	Handler func(*Node) http.Handler
	// NATS says how a region's server runs. Nil: in a temporary
	// folder, and for this process only.
	NATS func(region int) natsd.Config
}

// Cluster is a cluster. Its methods, and those of regions and nodes, may be called at the
// same time by several goroutines once Start has returned, or has begun to serve.
type Cluster struct {
	Regions []*Region // complete when ports are served
	Issuer  *authn.Issuer

	options Options
	log     *slog.Logger
}

// Region is a region of a cluster: a NATS server and nodes.
type Region struct {
	Name  docid.Region
	URL   string // of its first node, which stands for all
	NATS  *natsd.Server
	Nodes []*Node

	cut  atomic.Bool // from all registries
	full atomic.Bool // its history refuses edits
}

// New returns a cluster that does not run yet.
func New(o Options) *Cluster {
	if len(o.Regions) == 0 {
		o.Regions = []docid.Region{"local"}
	}
	if len(o.Licenses) == 0 {
		o.Licenses = []docid.LicenseRegion{"aws-eu-west-1"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Nodes = cmp.Or(o.Nodes, 1)
	return &Cluster{Issuer: o.Issuer, options: o, log: o.Log}
}

// Start opens all ports, runs the NATS servers, the regions at the same time, then the
// nodes, and serves them. It is called once; on an error nothing runs.
func (c *Cluster) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			_ = c.Close(context.WithoutCancel(ctx)) // why it did not start says more
		}
	}()
	if c.Issuer == nil {
		if c.Issuer, err = authn.NewIssuer(nil, "devcluster"); err != nil {
			return err
		}
	}
	// Nobody shall wait for a NATS server to hear that a port is taken.
	if err = c.listen(); err != nil {
		return err
	}
	if err = c.startNATS(); err != nil {
		return err
	}
	for n := range c.Nodes {
		if err = n.Start(ctx); err != nil {
			return err
		}
	}
	for n := range c.Nodes {
		n.serve()
	}
	return nil
}

// listen opens the ports of all nodes.
func (c *Cluster) listen() error {
	listen := c.options.Listen
	if listen == nil {
		listen = c.listenAnywhere
	}
	for i, name := range c.options.Regions {
		r := &Region{Name: name}
		c.Regions = append(c.Regions, r)
		for j := range c.options.Nodes {
			l, url, err := listen(i, j)
			if err != nil {
				return err
			}
			r.Nodes = append(r.Nodes, &Node{
				ID: docid.NodeID(fmt.Sprintf("%s-%d", name, j)), URL: url, Region: r, cluster: c, listener: l,
			})
		}
		r.URL = r.Nodes[0].URL
	}
	return nil
}

func (c *Cluster) listenAnywhere(int, int) (net.Listener, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	scheme := "ws://"
	if c.options.TLS != nil {
		scheme = "wss://"
	}
	return l, scheme + l.Addr().String(), nil
}

func (c *Cluster) startNATS() error {
	errs := make([]error, len(c.Regions))
	var wait sync.WaitGroup
	for i, r := range c.Regions {
		wait.Go(func() {
			var config natsd.Config
			if c.options.NATS != nil {
				config = c.options.NATS(i)
			}
			config.Name, config.Log = string(r.Name), c.log
			r.NATS, errs[i] = natsd.Start(config)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Nodes goes through the nodes of all regions.
func (c *Cluster) Nodes(yield func(*Node) bool) {
	for _, r := range c.Regions {
		for _, n := range r.Nodes {
			if !yield(n) {
				return
			}
		}
	}
}

// Client returns what a client of the first node needs: the URL, and a token for the
// subject, whose license region is by default the cluster's first.
func (c *Cluster) Client(s authn.Subject) (url, token string, err error) {
	s.License = cmp.Or(s.License, c.options.Licenses[0])
	token, err = c.Issuer.Mint(s)
	return c.Regions[0].URL, token, err
}

// Close ends the nodes as SIGTERM does, with no more time than ctx has, then NATS. An
// error says which nodes were not done by then; nothing runs any more all the same.
func (c *Cluster) Close(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var wait sync.WaitGroup
	for n := range c.Nodes {
		wait.Go(func() {
			if err := n.close(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("node %s: %w", n.ID, err))
			}
		})
	}
	wait.Wait()
	for _, r := range c.Regions {
		if r.NATS != nil {
			wait.Go(r.NATS.Close)
		}
	}
	wait.Wait()
	return errors.Join(errs...)
}
