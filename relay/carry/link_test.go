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
