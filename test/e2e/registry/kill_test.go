package registry

import (
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/wait"
)

// The times are those of production, except for the grace period of documents that
// nobody opens again.
func TestDocumentsOfAKilledNodeAreTakenUpAtOnceFreeWithinTwelveSecondsAndElseUnpinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1, "--grace", "2s")
	victim, survivor, stranger := w.eu.nodes[0], w.eu.nodes[1], w.us.nodes[0]
	const dead = eu + "-0"
	for _, document := range []string{"resumed", "taken", "unwanted"} {
		w.clients.Join(w.staying(victim, document)).Insert(0, "of "+document)
	}
	here := w.clients.Join(w.at(survivor, "shared"))
	w.clients.Join(w.staying(victim, "shared")).Insert(0, "of shared")
	here.WaitText("of shared")
	w.waitDurable(5) // four documents on the victim, one on the survivor

	victim.Kill()
	clock, killed := wait.Start(), time.Now()
	if h, _ := w.knock(stranger, "taken"); h.Code != 4009 {
		t.Errorf("another region, with the dead node's lease still current: close code %d, expected 4009", h.Code)
	}
	w.clients.Join(w.staying(survivor, "resumed")).WaitText("of resumed")
	if took := clock.Took(); clock.Exceeds(bound(2 * time.Second)) {
		t.Errorf("the same region had the document back after %v, expected at once", took)
	} else {
		t.Logf("the same region has its document back after %v", took)
	}
	for {
		if h, _ := w.knock(stranger, "taken"); h.Code == 0 {
			break
		}
		if took := clock.Took(); clock.Exceeds(bound(12 * time.Second)) {
			t.Fatalf("another region cannot take the document %v after the kill", took)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("another region takes the document %v after the kill", time.Since(killed))
	if text := w.clients.Join(w.staying(stranger, "taken")).State().Text; text != "" {
		t.Errorf("another region begins with %q, expected nothing", text)
	}

	wait.Within(t, bound(2*time.Second), "the dead node's lease is gone", func() bool { return w.settled(2) })
	var findings []struct{ Check, Detail string }
	w.wsctl(&findings, "check")
	if !slices.Contains(findings, struct{ Check, Detail string }{"leases", "2 nodes"}) {
		t.Errorf("wsctl check does not count 2 leases: %+v", findings)
	}
	for name, p := range w.pins() {
		if p.State != "orphaned" && slices.Contains(p.Nodes, dead) {
			t.Errorf("%s is said to be held by the dead node: %+v", name, p)
		}
	}
	wait.Within(t, 2*time.Minute-time.Since(killed), "what nobody wants is unpinned", func() bool {
		_, pinned := w.pins()["unwanted"]
		return !pinned
	})
	t.Logf("what nobody wants is unpinned %v after the kill", time.Since(killed))
	if text := w.clients.Join(w.at(survivor, "unwanted")).State().Text; text != "" {
		t.Errorf("the next life begins with %q, expected nothing", text)
	}
	here.Insert(-1, ", and on")
	w.clients.Join(w.at(survivor, "shared")).WaitText("of shared, and on")
	w.mustBeUndisturbed(here)
}
