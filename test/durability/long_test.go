//go:build !race

// What this test shows, it shows by the number of updates, which one after the other are nothing
// that the race detector would look at.
package durability

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/natstest"
)

func TestADocumentOfManyUpdatesStaysSmallAndJoinsAsFastAsItsSize(t *testing.T) {
	updates := 100_000
	if soak() {
		updates = 1_000_000
	}
	// Compaction begins at 500 messages and at three times that if the pod whose
	// turn it is does not come to it; appends go on meanwhile.
	const mostMessages = 5_000

	i := natstest.Server(t)
	a, b := startPod(t, i, "a", nil), startPod(t, i, "b", nil)
	writers := []*client{dial(t, a.url, "long", ""), dial(t, b.url, "long", "")}
	start := time.Now()
	var highest uint64
	look := func() {
		_, most := subjects(t, a.history)
		highest = max(highest, most)
	}
	const burst = 1_000
	for typed := 0; typed < updates; typed += burst {
		w := writers[typed/burst%2]
		for range burst {
			w.typeText("x")
		}
		look()
		if typed%(10*burst) == 0 { // nobody gets far ahead
			writers[0].waitHas(writers[1])
			writers[1].waitHas(writers[0])
		}
	}
	writers[0].waitHas(writers[1])
	writers[1].waitHas(writers[0])
	look()
	if highest > mostMessages {
		t.Errorf("the history held %d messages, expected at most %d", highest, mostMessages)
	}
	t.Logf("%d updates in %v, at most %d messages in the history", updates, time.Since(start).Round(time.Millisecond), highest)

	// The same content, written in one go, is what joining may cost.
	short := dial(t, a.url, "short", "")
	short.author.client = writers[0].author.client
	short.typeText(string(bytes.Repeat([]byte("x"), int(writers[0].author.clock))))
	other := dial(t, a.url, "short", "")
	other.author.client = writers[1].author.client
	other.typeText(string(bytes.Repeat([]byte("x"), int(writers[1].author.clock))))
	short.waitHas(other)
	other.waitHas(short)

	// A pod that has neither open loads it from the history.
	c := startPod(t, i, "c", nil)
	join := func(document string, of ...*client) (best time.Duration, size int) {
		best = time.Hour
		for range 5 {
			start := time.Now()
			late := dial(t, c.url, document, "")
			best = min(best, time.Since(start))
			late.waitHas(of...)
			size = len(late.state())
			late.leave()
			waitFor(t, patience, func() (bool, string) {
				n := c.Counters().OpenRooms.Load()
				return n == 0, fmt.Sprintf("%d documents open", n)
			})
		}
		return best, size
	}
	long, longSize := join("long", writers...)
	quick, quickSize := join("short", short, other)
	t.Logf("joins with %d bytes in %v; the same text written at once, %d bytes, in %v", longSize, long, quickSize, quick)
	if longSize > quickSize+quickSize/10+1024 {
		t.Errorf("the document takes %d bytes, the same text written at once %d", longSize, quickSize)
	}
	// Up to a compaction's worth of messages stands behind the snapshot.
	if long > 5*quick+100*time.Millisecond {
		t.Errorf("joining took %v, with the same text written at once %v", long, quick)
	}
}
