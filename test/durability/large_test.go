//go:build !race

// The client of this test merges 100 MB, five times over: with the race detector that takes a
// minute of a processor, and there is nothing in it that smaller documents do not show.
package durability

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/stores"
)

func TestLargeUpdatesAndDocumentsReachOtherPodsAndLateJoiners(t *testing.T) {
	a, b, token := startPair(t, "--max-message-bytes", fmt.Sprint(64*mib))
	writer := dial(t, a.WS(), "large", token)
	reader := dial(t, b.WS(), "large", token)
	typed := 0
	// The last one makes it a document of 100 MB.
	for _, size := range []int{1 * mib, 10 * mib, 50 * mib, 39 * mib} {
		start := time.Now()
		writer.typeText(strings.Repeat("0123456789abcdef", size/16))
		typed += size
		reader.waitHas(writer)
		t.Logf("an update of %d MiB reached the other pod after %v", size/mib, time.Since(start).Round(time.Millisecond))
		reader.typeText("seen") // and the way back works
		writer.waitHas(reader)
	}
	for _, n := range []*cluster.Node{a, b} {
		start := time.Now()
		late := dial(t, n.WS(), "large", token)
		took := time.Since(start)
		late.waitHas(writer, reader)
		if late.pending() != 0 || !bytes.Equal(late.state(), writer.state()) {
			t.Error("a late joiner has another document than the writer")
		}
		if len(late.state()) < typed {
			t.Errorf("the late joiner has %d bytes, %d were typed", len(late.state()), typed)
		}
		t.Logf("a document of %d MiB joined in %v", len(late.state())/mib, took.Round(time.Millisecond))
		late.leave()
	}
	// Another pod's room that closed and opens again loads it from the history.
	reader.leave()
	time.Sleep(3 * time.Second) // longer than a node keeps a document for a reload
	again := dial(t, b.WS(), "large", token)
	again.waitHas(writer, reader)
	if !bytes.Equal(again.state(), writer.state()) {
		t.Error("loaded from the history, the document is another one")
	}
}

// A large document comes out of its store, is edited, and goes back: one of 8 MiB, as a soak of
// 100. It is the request by which the store is asked for it, and the body, that grow with it.
func TestALargeDocumentIsStoredLoadedAndEdited(t *testing.T) {
	size := 8 * mib
	if soak() {
		size = 100 * mib
	}
	backend := new(stores.Backend)
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	a, b, token := startPair(t, "--max-message-bytes", fmt.Sprint(64*mib), "--grace", "1s", "--store-interval", "1s",
		"--store", server.URL+"/{dbCode}/{tenantId}/{appId}/{document}")
	const name = "large"
	path := "/" + license + "/acme/notes/" + name
	isStored := func(what string, of ...*client) {
		t.Helper()
		start := time.Now()
		waitFor(t, patience, func() (bool, string) {
			body := backend.Bodies()[path]
			for _, c := range of {
				if n := holds(t, body, c.author.client); n != c.author.clock {
					return false, fmt.Sprintf("%s: of %d characters %d are stored", what, c.author.clock, n)
				}
			}
			return true, ""
		})
		t.Logf("%s: stored after %v", what, time.Since(start).Round(time.Millisecond))
	}
	writer := dial(t, a.WS(), name, token)
	for typed := 0; typed < size; typed += min(size, 50*mib) {
		writer.typeText(strings.Repeat("0123456789abcdef", min(size, 50*mib)/16))
	}
	isStored("written", writer)
	writer.leave()
	cluster.WaitUnpinned(t, strings.Replace(a.WS(), "ws", "http", 1), token, name, patience)

	start := time.Now()
	reader := dial(t, b.WS(), name, token)
	reader.waitHas(writer)
	t.Logf("a document of %d MiB is loaded after %v", len(reader.state())/mib, time.Since(start).Round(time.Millisecond))
	reader.typeText("edited")
	isStored("edited", writer, reader)
	reader.leave()
	cluster.WaitUnpinned(t, strings.Replace(a.WS(), "ws", "http", 1), token, name, patience)
	isStored("left", writer, reader)
}
