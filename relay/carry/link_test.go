package carry

import (
	"errors"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/session"
)

// A home that is frozen says nothing, and its sockets stay. Its clients are told nothing: they
// are taken to whoever has the document by then.
func TestALinkWhoseHomeIsSilentEndsForWhatPasses(t *testing.T) {
	c := node("us-east-1")
	ended := map[session.Stream]int{}
	link := func(silent time.Duration) *Link {
		l := newLink(c, Request{Channel: &session.Channel{End: func(s session.Stream, code int, _ string, why error) {
			ended[s] = code
			if !errors.Is(why, errSilent) {
				t.Errorf("it ends for %v", why)
			}
		}}})
		l.heard.Store(int64(time.Since(began) - silent))
		c.links.Add(l)
		return l
	}
	frozen, alive := link(silence+time.Second), link(silence/10)
	c.endSilent()
	if code, over := ended[frozen]; code != closecode.Restart {
		t.Errorf("a frozen home: %t, %d", over, code)
	}
	if _, over := ended[alive]; over {
		t.Error("one that was heard lately has ended")
	}
	alive.cancel()
}

// What waits for homes is counted for the app, until it is written or nobody writes it any
// more. An app that has too much there does not get the node to hold more.
func TestWhatWaitsForAHomeIsCounted(t *testing.T) {
	owed, most := 0, 20
	var q toHome
	q.init(100, 100)
	q.owe = func(bytes int) bool {
		owed += bytes
		return owed <= most
	}
	for i := range 3 {
		if _, bears := q.put(make([]byte, 8), 0); bears != (i < 2) {
			t.Errorf("message %d: %t", i, bears)
		}
	}
	if owed != 24 {
		t.Errorf("%d bytes of 24 are counted", owed)
	}
	q.take()
	q.written(8)
	q.close()
	if q.drop(); owed != 0 {
		t.Errorf("%d bytes are counted when nothing is left", owed)
	}
}
