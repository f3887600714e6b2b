package relay

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
)

// What clients that are carried, and homes that are not what they seem, may cost others.

// A first message is waited for before anybody takes the client to its home. What it takes up
// meanwhile counts for its app as any message does.
func TestFirstMessagesOfThoseWhoAreCarriedAreBounded(t *testing.T) {
	w := newRegions(t)
	home := w.node(eu, "a")
	away := w.node(us, "b", carrying, func(c *Config) {
		c.Sessions.MaxDocumentBytes, c.Conns.MaxIncomingBytes = 1<<20, 16<<20 // of which an app has 4 MiB
	})
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	ended := make(chan int, 8)
	for range cap(ended) {
		ws, _, err := dial(t, away.addr, "/minutes", token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		message, err := ws.Writer(t.Context(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = message.Write(make([]byte, 1<<20)) // the node may hang up before
			ended <- awaitCode(t, ws)
		}()
	}
	oneHasNoRoom(t, ended)
}

// Two regions of which each says that the other has the document, as by two registries that
// differ: nobody is sent round, and once they agree the client is there.
func TestRegionsThatSendAClientToEachOtherSendNobodyRound(t *testing.T) {
	w := newRegions(t)
	home, away := w.node(eu, "a"), w.node(us, "b")
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	back := "REDIRECT:ws://" + w.front(us).listener.Addr().String() + "/minutes"
	stubborn := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(rw, r, nil); err == nil {
			_ = c.Close(4009, back)
		}
	}))
	t.Cleanup(stubborn.Close)
	w.front(eu).lead(stubborn.Listener.Addr().String())
	arrived := w.front(us).count()
	p := connectProvider(t, away, "/")
	p.open("minutes", token)
	p.open("plans", token)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("one is here", func() bool { return plans.taken == 1 })
	eventually(t, "the other is tried again", func() bool { return away.carrier.Stats().Failed >= 3 })
	p.edit("plans", 7, 0)
	p.until("the one here goes on", func() bool { return plans.taken == 2 })
	if s := away.carrier.Stats(); s.Carried > 0 || w.front(us).count() != arrived || len(minutes.granted)+len(minutes.denied) > 0 {
		t.Errorf("%+v, %s", s, p)
	}
	w.front(eu).lead(home.addr)
	p.until("they agree", func() bool { return minutes.taken == 1 })
	if len(minutes.granted) != 1 || len(minutes.denied) > 0 {
		t.Error(p)
	}
}
