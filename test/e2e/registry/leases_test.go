package registry

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

// Clients of the other region knock all the time. One region is back earlier, so
// its nodes see pins whose holders have no lease, and must not take them.
func TestNoDocumentMovesWhenAllNodesLoseTheirLeasesAtOnce(t *testing.T) {
	t.Parallel()
	lease, down := 6*time.Second, 10*time.Second
	if soak() {
		lease, down = 10*time.Second, 30*time.Second
	}
	w := newWorld(t, 2, 1, "--lease", lease.String())
	defer w.stop()
	nodes := append(slices.Clone(w.eu.nodes), w.us.nodes...)
	var live, strangers []*yjs.Client
	for i := range 12 {
		document, home, abroad := fmt.Sprint("doc-", i), nodes[i%3], nodes[2]
		if home == abroad {
			abroad = nodes[i%2]
		}
		c := w.clients.Join(w.staying(home, document))
		c.Insert(0, document)
		live, strangers = append(live, c), append(strangers, w.clients.Open(w.staying(abroad, document)))
	}
	w.clients.StartTyping(200*time.Millisecond, live...)
	for _, c := range strangers {
		c.WaitClosed(4009)
	}
	pins, leases := w.pins(), w.leases()

	w.registry.Kill()
	time.Sleep(down)
	w.eu.link.Refuse()
	w.registry.Start()
	w.registry.WaitHealthy()
	wait.Within(t, settle, "one region is back", func() bool {
		id := w.leases()[us+"-0"]
		return id != "" && id != leases[us+"-0"]
	})
	redirects := 0
	for back, i := time.Now(), 0; time.Since(back) < lease/4; i++ {
		switch h, _ := w.knock(w.us.nodes[0], fmt.Sprint("doc-", 3*(i%4))); h.Code {
		case 4009:
			redirects++
		case 1013:
		default:
			t.Fatalf("a stranger, while the holders are on their way: close code %d, expected 4009", h.Code)
		}
	}
	if redirects == 0 {
		t.Error("the region that was back first redirected nobody")
	}
	w.eu.link.Heal()
	took := wait.Within(t, bound(10*time.Second), "all leases are back", func() bool { return w.settled(3) })
	t.Logf("all leases are back after %v", took)
	for node, id := range w.leases() {
		if leases[node] == id {
			t.Errorf("%s has not lost its lease", node)
		}
	}
	time.Sleep(2 * lease) // after one lease time, another region may take documents whose holders look dead
	after := w.pins()
	for document, before := range pins {
		if p := after[document]; p.State != "live" || p.Region != before.Region || p.Epoch != before.Epoch || !slices.Equal(p.Nodes, before.Nodes) {
			t.Errorf("%s was %+v and is %+v", document, before, p)
		}
	}
	w.mustBeUndisturbed(live...)
	for _, c := range strangers {
		s := c.State()
		if len(s.Log) > 0 || s.Text != "" {
			t.Errorf("a stranger was let in: %q", s.Text)
		}
		for _, closed := range s.Closes {
			if closed.Code != 4009 && closed.Code != 1013 {
				t.Errorf("a stranger was closed with %+v", closed)
			}
		}
	}
}

// leases returns the ids of the nodes' leases.
func (w *world) leases() map[string]string {
	w.t.Helper()
	leases := map[string]string{}
	for _, n := range w.nodeLines() {
		for _, l := range n.Leases {
			leases[n.Node] = l.ID
		}
	}
	return leases
}
