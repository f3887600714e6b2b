package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// The region's cluster holds the registry as well, so everything that a node needs
// of NATS is restarted under it.
func TestNATSClusterMayRestartUnderLoad(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	servers := cluster.StartNATSServers(t, 3)
	flags := []string{"--single-region", "--replicas", "3", "--history-replicas", "3"}
	r := startRegion(t, keys, eu, servers, 2, flags...)
	defer r.stop()
	w := &world{t: t, keys: keys, token: keys.Token(nil), eu: r, clients: yjs.Start(t)}

	const documents, clients = 3, 3
	groups := make([][]*yjs.Client, documents)
	var all []*yjs.Client
	for d := range groups {
		for i := range clients {
			groups[d] = append(groups[d], w.clients.Join(w.at(r.nodes[i%2], fmt.Sprint("doc-", d))))
		}
		all = append(all, groups[d]...)
	}
	w.clients.StartTyping(50*time.Millisecond, all...)
	for _, s := range servers {
		s.Stop()
		time.Sleep(time.Second) // load, without it
		s.Start()
		s.WaitTaking()
		s.WaitHealthy()
	}
	for _, s := range servers {
		s.Kill()
	}
	time.Sleep(3 * time.Second) // load, without any
	for _, s := range servers {
		s.Start()
	}
	for _, s := range servers {
		s.WaitHealthy()
	}
	time.Sleep(time.Second)
	total := 0
	for _, edits := range w.clients.StopTyping(all...) {
		total += edits
	}
	start := time.Now()
	for d, group := range groups {
		for _, n := range r.nodes {
			group = append(group, w.clients.Join(w.at(n, fmt.Sprint("doc-", d))))
		}
		w.clients.WaitSame(settle, group...)
	}
	t.Logf("%d edits, all everywhere %v after the last", total, time.Since(start))
	w.mustBeUndisturbed(all...)

	// The clients keep what they have to themselves: the history has it as well.
	w.waitDurable(2 * documents)
	for _, n := range r.nodes {
		n.Kill()
	}
	for _, c := range all {
		c.Disconnect()
	}
	next := startRegion(t, keys, eu, servers, 1, flags...)
	defer next.stop()
	for d, group := range groups {
		w.clients.WaitSame(settle, append(group, w.clients.Join(w.at(next.nodes[0], fmt.Sprint("doc-", d))))...)
	}
}
