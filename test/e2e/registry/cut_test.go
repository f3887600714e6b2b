package registry

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

// cutLength is how long a registry is away: longer than a lease, and than another
// region then waits before it takes what is asked of it.
func cutLength() time.Duration {
	if soak() {
		return time.Minute
	}
	return 18 * time.Second
}

func TestRegionWithoutItsRegistryKeepsItsDocumentsRefusesNewOnesAndHandsOverWhatMoved(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*natstest.Proxy){"packets dropped": (*natstest.Proxy).Cut, "connections refused": (*natstest.Proxy).Refuse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cutOff(t, cut)
		})
	}
}

// cutOff follows seven documents through an outage: live, quiet, moving, left,
// abroad, and new ones in both regions.
func cutOff(t *testing.T, cut func(*natstest.Proxy)) {
	w := newWorld(t, 2, 1, "--grace", "3s")
	one, two, stranger := w.eu.nodes[0], w.eu.nodes[1], w.us.nodes[0]
	live := []*yjs.Client{w.clients.Join(w.at(one, "live")), w.clients.Join(w.at(two, "live")), w.clients.Join(w.at(one, "live"))}
	quiet := w.clients.Join(w.at(one, "quiet"))
	quiet.Insert(0, "of quiet")
	moving := []*yjs.Client{w.clients.Join(w.at(one, "moving")), w.clients.Join(w.at(two, "moving"))}
	left := w.clients.Join(w.at(one, "left"))
	abroad := w.clients.Join(w.at(stranger, "abroad"))
	w.clients.StartTyping(100*time.Millisecond, append(live, moving...)...)
	before := w.pins()

	left.Disconnect() // so that its release is under way or sent during the cut
	cut(w.eu.link)
	start := time.Now()
	w.refusesNew(one, "new-1")
	w.refusesNew(two, "new-2")
	if h, _ := w.knock(one, "abroad"); h.Code != 1013 {
		t.Errorf("a document of another region, whose registry cannot be asked: close code %d, expected 1013", h.Code)
	}
	w.clients.Join(w.at(two, "quiet")).WaitText("of quiet")
	late := w.clients.Join(w.at(two, "live"))
	if d := cluster.Discover(t, one.HTTP(), w.token, "quiet"); d.IsNew || d.Region != eu {
		t.Errorf("discovery of a document that lives here: %+v", d)
	}

	// Nobody there knows that the document is alive here.
	taker := w.clients.Open(w.staying(stranger, "moving"))
	w.clients.StartTyping(100*time.Millisecond, taker)
	taker.WaitSynced()
	t.Logf("another region takes a document %v after the cut", time.Since(start))
	w.clients.Join(w.at(stranger, "new-3")).Insert(0, "of new-3")
	time.Sleep(time.Until(start.Add(cutLength())))
	w.refusesNew(one, "new-4")

	w.eu.link.Heal()
	healed := time.Now()
	left.Connect()
	consistent := wait.Within(t, bound(10*time.Second), "consistent after healing", func() bool { return w.consistent(before) })
	t.Logf("consistent %v after healing", consistent)
	left.WaitSynced()
	for _, c := range moving {
		if reason, expected := c.WaitClosed(4009).Reason, "REDIRECT:"+w.us.front.WS()+"/moving"; reason != expected {
			t.Errorf("the close reason is %q, expected %q", reason, expected)
		}
	}
	returned := left.State().Connects

	// A late write would show within the grace period that it starts.
	time.Sleep(time.Until(healed.Add(6 * time.Second)))
	w.clients.StopTyping(append(append(live, moving...), taker)...)
	w.clients.WaitSame(settle, append(live, late, w.clients.Join(w.at(stranger, "live")))...)
	w.clients.WaitSame(settle, append(moving, taker, w.clients.Join(w.at(one, "moving")))...)
	if s := taker.State(); len(s.Log) == len(s.Typed) {
		t.Error("no edit of the region that was cut off arrived where the document went")
	}
	w.clients.Join(w.at(one, "new-3")).WaitText("of new-3")
	w.mustBeUndisturbed(append(live, quiet, late, abroad)...)
	if s := left.State(); !s.Connected || s.Connects != returned {
		t.Errorf("a client that left in the outage was disturbed after its return: %+v", s)
	}
	pins := w.pins()
	if p := pins["left"]; p.State != "live" || p.Region != eu {
		t.Errorf("what was left in the outage and is open again: %+v", p)
	}
	for _, refused := range []string{"new-1", "new-2", "new-4"} {
		if p, pinned := pins[refused]; pinned {
			t.Errorf("what was refused is pinned: %+v", p)
		}
	}
}

// refusesNew checks that a node refuses what is not live in its region, in time.
func (w *world) refusesNew(n *cluster.Node, document string) {
	w.t.Helper()
	limit := bound(2 * time.Second)
	clock := wait.Start()
	h, took := w.knock(n, document)
	late := clock.Exceeds(limit)
	if h.Code != 1013 || h.Reason != "Try again later" {
		w.t.Errorf("a new document: close code %d %q, expected 1013", h.Code, h.Reason)
	}
	clock = wait.Start()
	a := cluster.Get(w.t, n.HTTP()+"/discovery?documentName="+document, w.token)
	asked := clock.Took()
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); a.Status != http.StatusServiceUnavailable || err != nil || seconds < 1 {
		w.t.Errorf("discovery of a new document: %d, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
	}
	if late || clock.Exceeds(limit) {
		w.t.Errorf("a new document was refused after %v by a close and %v by discovery, expected %v at most", took, asked, limit)
	}
	w.t.Logf("a new document is refused after %v and %v", took, asked)
}

// consistent reports whether the nodes have their leases and owe nothing, and all
// pins are where they belong.
func (w *world) consistent(before map[string]pin) bool {
	w.t.Helper()
	if !w.settled(3) {
		return false
	}
	pins := w.pins()
	for _, document := range []string{"live", "quiet"} {
		p, both := pins[document], []string{eu + "-0", eu + "-1"}
		if p.State != "live" || p.Epoch != before[document].Epoch || p.Region != eu || len(p.Nodes) != len(both) {
			return false
		}
	}
	moved, abroad := pins["moving"], pins["abroad"]
	return moved.State == "live" && moved.Region == us && abroad.State == "live" && abroad.Epoch == before["abroad"].Epoch
}
