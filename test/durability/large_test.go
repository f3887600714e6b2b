//go:build !race

// The client of this test merges 100 MB, five times over: with the race detector that takes a
// minute of a processor, and there is nothing in it that smaller documents do not show.
package durability

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
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
