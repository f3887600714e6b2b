package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/natstest"
)

const (
	eu      = "eu-central-1"
	us      = "us-east-1"
	license = "aws-eu-west-1"
)

// settle is how long clients may take to have everything, on a busy machine.
const settle = 2 * time.Minute

// world is two regions, each with a NATS of its own, and a registry on a third.
type world struct {
	t        *testing.T
	keys     *issuer.Issuer
	token    string
	registry *cluster.NATSServer
	eu, us   *region
	clients  *yjs.Node
}

// region is nodes behind a balancer. Its way to the registry can fail.
type region struct {
	name  string
	nats  []*cluster.NATSServer
	link  *natstest.Proxy // nil: the registry is on the region's own NATS
	front *cluster.Balancer
	nodes []*cluster.Node
}

// newWorld starts a world with so many nodes in each region. Flags are for all of
// them.
func newWorld(t *testing.T, euNodes, usNodes int, flags ...string) *world {
	t.Helper()
	w := &world{t: t, keys: issuer.New(t), registry: cluster.StartNATSServers(t, 1)[0]}
	w.token = w.keys.Token(nil)
	for _, r := range []struct {
		name  string
		nodes int
		at    **region
	}{{eu, euNodes, &w.eu}, {us, usNodes, &w.us}} {
		link := natstest.NewProxy(t, w.registry.URL)
		more := append([]string{"--registry", license + "=" + link.URL}, flags...)
		*r.at = startRegion(t, w.keys, r.name, cluster.StartNATSServers(t, 1), r.nodes, more...)
		(*r.at).link = link
	}
	w.clients = yjs.Start(t)
	return w
}

// startRegion starts nodes on the region's NATS servers and waits until they are
// healthy. Their ids are the region's name and a number.
func startRegion(t *testing.T, keys *issuer.Issuer, name string, nats []*cluster.NATSServer, nodes int, flags ...string) *region {
	t.Helper()
	var urls, addresses []string
	for _, s := range nats {
		urls = append(urls, s.URL)
	}
	for range nodes {
		addresses = append(addresses, cluster.FreeAddress(t))
	}
	front := cluster.FreeAddress(t)
	r := &region{name: name, nats: nats, front: cluster.StartBalancer(t, front, addresses...)}
	for i, address := range addresses {
		p := cluster.RunWsnode(t, append([]string{"serve",
			"--region", name, "--node", fmt.Sprintf("%s-%d", name, i), "--listen", address, "--public-url", "ws://" + front,
			"--nats-url", strings.Join(urls, ","), "--jwks-url", keys.JWKS, "--drain-spread", "0s", "--admin-listen", "off",
			// All clients have one address here.
			"--refused-per-minute", "0", "--admitted-per-minute", "0", "--health-per-minute", "0",
		}, flags...)...)
		r.nodes = append(r.nodes, &cluster.Node{Process: p, Addr: address})
	}
	for _, n := range r.nodes {
		cluster.Started(t, n.Process, n.Addr)
	}
	return r
}

// stop ends the nodes while they can still give back what they hold. Tests that
// start a NATS server again call it, since what was started last is ended first.
func (r *region) stop() {
	if r.link != nil {
		r.link.Heal()
	}
	for _, n := range r.nodes {
		n.Stop()
	}
}

func (w *world) stop() {
	w.eu.stop()
	w.us.stop()
}

// at are the options of a client of one node, which follows a document to where it
// goes.
func (w *world) at(n *cluster.Node, document string) yjs.Options {
	return yjs.Options{URL: n.WS(), Document: document, Token: w.token, Follow: true}
}

// staying is at for a client that goes on trying where it is.
func (w *world) staying(n *cluster.Node, document string) yjs.Options {
	o := w.at(n, document)
	o.Follow = false
	return o
}

// knock makes one handshake, and returns its outcome and how long it took. Without a
// code, the client was let in.
func (w *world) knock(n *cluster.Node, document string) (h cluster.Handshake, took time.Duration) {
	w.t.Helper()
	start := time.Now()
	h = cluster.Shake(w.t, n.Addr, "/"+document+"?token="+w.token, nil)
	return h, time.Since(start)
}

// mustBeUndisturbed fails the test if the connection of a client ended since it
// joined.
func (w *world) mustBeUndisturbed(clients ...*yjs.Client) {
	w.t.Helper()
	for _, c := range clients {
		if s := c.State(); s.Connects != 1 || len(s.Closes)+len(s.Errors) > 0 || !s.Connected {
			w.t.Errorf("a client of a live document was disturbed: %d connects, closes %v, errors %v", s.Connects, s.Closes, s.Errors)
		}
	}
}
