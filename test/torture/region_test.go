package torture

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/natstest"
)

const (
	servers = 3 // of NATS
	nodes   = 3
	doors   = 4 // ways of the clients to the region
)

// The documents of one license region are kept in a store that fails, too; those of the
// other end with their last user.
const (
	keptLicense  = "aws-eu-west-1"
	plainLicense = "aws-us-east-1"
)

// region is a cluster of three nats-server processes and three nodes. Between
// each node and each server, and between the clients and the balancer before the
// nodes, are proxies that can fail.
type region struct {
	t     *testing.T
	keys  *issuer.Issuer
	nats  []*cluster.NATSServer
	links [][]*natstest.Proxy // by node, then server
	nodes []*cluster.Node
	doors []*natstest.Proxy
	store *badStore

	front   string // address of the balancer
	natsOff [servers]bool
	nodeOff [nodes]bool
	paused  [servers]bool
	frozen  [nodes]bool
}

func startRegion(t *testing.T, seed uint64) *region {
	t.Helper()
	r := &region{
		t: t, keys: issuer.New(t), store: startBadStore(t, seed),
		nats: cluster.StartNATSServers(t, servers), front: cluster.FreeAddress(t),
	}
	var addresses []string
	for i := range nodes {
		var links []*natstest.Proxy
		for _, s := range r.nats {
			links = append(links, natstest.NewProxy(t, s.URL))
		}
		r.links = append(r.links, links)
		address := cluster.FreeAddress(t)
		addresses = append(addresses, address)
		r.nodes = append(r.nodes, r.startNode(i, address))
		cluster.Started(t, r.nodes[i].Process, address)
	}
	cluster.StartBalancer(t, r.front, addresses...)
	for range doors {
		r.doors = append(r.doors, natstest.NewProxy(t, r.front))
	}
	return r
}

func (r *region) startNode(i int, address string) *cluster.Node {
	var urls []string
	for _, link := range r.links[i] {
		urls = append(urls, link.URL)
	}
	url := strings.Join(urls, ",")
	return &cluster.Node{Addr: address, Process: cluster.RunWsnode(r.t, "serve",
		"--region", "eu-central-1", "--node", fmt.Sprintf("node-%d-%d", i, time.Now().UnixMilli()),
		"--listen", address, "--public-url", "ws://"+r.front, "--jwks-url", r.keys.JWKS,
		"--nats-url", url, "--registry", keptLicense+"="+url, "--registry", plainLicense+"="+url, "--replicas", "3", "--history-replicas", "3",
		"--store", keptLicense+"="+r.store.url, "--store-interval", "1s", "--store-timeout", storeTimeout.String(),
		"--grace", "2s", "--drain-spread", "0s", "--admin-listen", "off",
		// All clients have one address here.
		"--refused-per-minute", "0", "--admitted-per-minute", "0", "--health-per-minute", "0")}
}

// door is the server URL of one of the ways to the region.
func (r *region) door(i int) string { return "ws://" + r.doors[i%doors].Addr }

func (r *region) killNode(i int) {
	r.nodes[i].Kill()
	r.nodeOff[i] = true
}

func (r *region) reviveNode(i int) {
	r.nodes[i] = r.startNode(i, r.nodes[i].Addr)
	r.nodeOff[i] = false
}

func (r *region) killNATS(i int) {
	r.nats[i].Kill()
	r.natsOff[i] = true
}

// stopNATS ends a server in an orderly way, as an upgrade does. A busy server may
// take long to hand over; then it is killed.
func (r *region) stopNATS(i int) {
	r.nats[i].Interrupt()
}

func (r *region) reviveNATS(i int) {
	r.nats[i].Kill() // if it has not ended by itself
	r.nats[i].Start()
	r.natsOff[i] = false
}

func (r *region) pauseNATS(i int)  { r.nats[i].Pause(); r.paused[i] = true }
func (r *region) resumeNATS(i int) { r.nats[i].Resume(); r.paused[i] = false }

// freezeNode stops a node's clocks, perhaps for longer than its lease.
func (r *region) freezeNode(i int) {
	_ = syscall.Kill(r.nodes[i].PID(), syscall.SIGSTOP)
	r.frozen[i] = true
}

func (r *region) thawNode(i int) {
	_ = syscall.Kill(r.nodes[i].PID(), syscall.SIGCONT)
	r.frozen[i] = false
}

func (r *region) resetLinks(node int) { each(r.links[node], (*natstest.Proxy).Reset) }
func (r *region) cutLinks(node int)   { each(r.links[node], (*natstest.Proxy).Cut) }
func (r *region) healLinks(node int)  { each(r.links[node], (*natstest.Proxy).Heal) }

func each(proxies []*natstest.Proxy, do func(*natstest.Proxy)) {
	for _, p := range proxies {
		do(p)
	}
}

// heal ends all faults and waits until everything runs.
func (r *region) heal() {
	r.t.Helper()
	for i := range r.nats {
		if r.paused[i] {
			r.resumeNATS(i)
		}
		if r.natsOff[i] {
			r.reviveNATS(i)
		}
	}
	r.store.heal()
	for i := range r.nodes {
		r.healLinks(i)
		if r.frozen[i] {
			r.thawNode(i)
		}
		if r.nodeOff[i] {
			r.reviveNode(i)
		}
	}
	for _, d := range r.doors {
		d.SetDelay(0)
		d.Heal()
	}
	for _, n := range r.nodes {
		cluster.Started(r.t, n.Process, n.Addr)
	}
}

// dump has every node write down what its goroutines do, and end.
func (r *region) dump() {
	for _, n := range r.nodes {
		_ = syscall.Kill(n.PID(), syscall.SIGQUIT)
		n.Wait()
	}
}

// stop ends the nodes while they can still give back what they hold: the servers
// that were started last end first when the test does.
func (r *region) stop() {
	for i, n := range r.nodes {
		r.healLinks(i)
		r.thawNode(i)
		n.Stop()
	}
}
