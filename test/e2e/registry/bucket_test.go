package registry

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

func TestPinsAreBackAfterTheBucketWasDeletedUnderLiveDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1, "--lease", "4s")
	var quiet, all []*yjs.Client
	for i, n := range append(slices.Clone(w.eu.nodes), w.us.nodes...) {
		quiet = append(quiet, w.clients.Join(w.at(n, fmt.Sprint("quiet-", i))))
	}
	home := w.clients.Join(w.at(w.eu.nodes[0], "wanted"))
	all = append(slices.Clone(quiet), home)
	w.clients.StartTyping(100*time.Millisecond, all...)
	before := w.pins()

	js, err := jetstream.New(natstest.ConnectURL(t, w.registry.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_wsnode-"+license); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	// One comes to the document's region, and one elsewhere, where nobody can tell
	// that it is live.
	neighbour := w.clients.Join(w.at(w.eu.nodes[1], "wanted"))
	stranger := w.clients.Open(w.at(w.us.nodes[0], "wanted"))
	w.clients.StartTyping(100*time.Millisecond, stranger)
	clock := wait.Start()
	if h, took := w.knock(w.eu.nodes[0], "new"); h.Code != 1013 || clock.Exceeds(bound(2*time.Second)) {
		t.Errorf("a new document without a registry: close code %d after %v, expected 1013 within 2 s", h.Code, took)
	}
	wait.Within(t, 30*time.Second, "all pins are back", func() bool {
		if _, err := js.Stream(t.Context(), "KV_wsnode-"+license); err != nil {
			return false // wsctl would find nothing to look at
		}
		pins := w.pins()
		return len(pins) == len(before) && w.settled(3)
	})
	t.Logf("all pins are back after %v", time.Since(deleted))
	for document, was := range before {
		if p := w.pins()[document]; document != "wanted" && (p.State != "live" || p.Region != was.Region || p.Epoch != was.Epoch) {
			t.Errorf("%s was %+v and is %+v", document, was, p)
		}
	}
	stranger.WaitSynced()
	time.Sleep(time.Second) // some edits together
	w.clients.StopTyping(append(all, stranger)...)
	late := w.clients.Join(w.at(w.us.nodes[0], "wanted"))
	w.clients.WaitSame(settle, home, neighbour, stranger, late)
	for i, c := range quiet {
		w.clients.WaitSame(settle, c, w.clients.Join(w.at(w.us.nodes[0], fmt.Sprint("quiet-", i))))
	}
	w.mustBeUndisturbed(quiet...)
	if a := cluster.Discover(t, w.us.nodes[0].HTTP(), w.token, "quiet-0"); a.Region != eu || a.URL != w.eu.front.WS()+"/quiet-0" {
		t.Errorf("discovery after the bucket was made again: %+v", a)
	}
}

// The copy is older than what happened since: a document that was opened, one that
// moved, one that ended and began again, and one that ended.
func TestNobodyIsSplitForGoodAfterTheBucketWasRestoredFromAnOldCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1, "--grace", "2s", "--lease", "4s")
	defer w.stop()
	one, two, stranger := w.eu.nodes[0], w.eu.nodes[1], w.us.nodes[0]
	groups := map[string][]*yjs.Client{"kept": {w.clients.Join(w.at(one, "kept")), w.clients.Join(w.at(two, "kept"))}}
	old := []*yjs.Client{w.clients.Join(w.at(stranger, "moved")), w.clients.Join(w.at(one, "reborn")), w.clients.Join(w.at(one, "ended"))}

	restart := func(do func()) {
		w.registry.Stop()
		do()
		w.registry.Start()
		w.registry.WaitHealthy()
		wait.Within(t, 20*time.Second, "the nodes are back", func() bool { return w.settled(3) })
	}
	backup := t.TempDir() + "/copy"
	restart(func() { must(t, os.CopyFS(backup, os.DirFS(w.registry.Store))) })
	for _, c := range old {
		c.Destroy()
	}
	for _, document := range []string{"moved", "reborn", "ended"} {
		cluster.WaitUnpinned(t, one.HTTP(), w.token, document, settle)
	}
	for _, document := range []string{"moved", "young"} {
		groups[document] = []*yjs.Client{w.clients.Join(w.at(one, document)), w.clients.Join(w.at(two, document))}
	}
	groups["reborn"] = []*yjs.Client{w.clients.Join(w.at(one, "reborn"))} // the other node knows the copy's epoch only
	var all []*yjs.Client
	for _, group := range groups {
		all = append(all, group...)
	}
	w.clients.StartTyping(100*time.Millisecond, all...)
	restart(func() {
		must(t, os.RemoveAll(w.registry.Store))
		must(t, os.CopyFS(w.registry.Store, os.DirFS(backup)))
	})
	restored := time.Now()

	time.Sleep(3 * time.Second) // they go on typing, wherever they are
	w.clients.StopTyping(all...)
	for document, group := range groups {
		group = append(group, w.clients.Join(w.at(two, document)), w.clients.Join(w.at(stranger, document)))
		w.clients.WaitSame(settle, group...)
		if p := w.pins()[document]; p.State != "live" || p.Region == us && document != "moved" {
			t.Errorf("%s is pinned as %+v", document, p)
		} else {
			t.Logf("%s lives on in %s", document, p.Region)
		}
	}
	w.mustBeUndisturbed(slices.Concat(groups["kept"], groups["young"], groups["reborn"])...)
	wait.Within(t, 2*time.Minute-time.Since(restored), "what had ended is unpinned", func() bool {
		_, pinned := w.pins()["ended"]
		return !pinned
	})
	t.Logf("what had ended is unpinned %v after the restore", time.Since(restored))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
