package relay

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// What one client of a connection that documents share may cost the others.

func TestOneAddressThatSaysNothingKeepsOutNoOther(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", trustLoopback)
	n.gate.firsts = ratelimit.NewCrowd[netip.Addr](1)
	from := func(address string) *provider {
		c, _, err := dial(t, n.addr, "/", "", http.Header{"X-Forwarded-For": {address}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		return &provider{t: t, conn: c, docs: map[string]*providerDoc{}}
	}
	from("192.0.2.1")
	eventually(t, "the node waits for its first message", func() bool { return n.gate.firsts.Len() == 1 })
	if code, _ := closeOf(t, from("192.0.2.1").conn); code != 4001 {
		t.Errorf("another one of the address was closed with %d", code)
	}
	p := from("192.0.2.2")
	p.open("minutes", w.token(authn.Subject{}))
	p.until("another address is let in", func() bool { return p.doc("minutes").taken == 1 })
}

func TestDocumentsOfASocketCountAsHandshakesDo(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Limits.Rates.Admitted.Count, c.Limits.Rates.Admitted.Per = 2, time.Hour
	})
	token := w.token(authn.Subject{})
	p := connectProvider(t, n, "/")
	for _, name := range []string{"one", "two"} {
		p.open(name, token)
		p.until("it is let in", func() bool { return p.doc(name).taken == 1 })
	}
	p.open("three", token)
	eventually(t, "the third is put off", func() bool { return n.recent.counts()["overloaded"] > 0 })
	p.edit("one", 7, 0)
	p.until("the others go on", func() bool { return p.doc("one").taken == 2 })
	if three := p.doc("three"); len(three.granted)+len(three.denied) > 0 || n.docs.Len() != 2 {
		t.Errorf("%d documents are open; %s", n.docs.Len(), p)
	}
}

// slowly is a verifier that counts tokens, and waits with all but the first while a test
// holds it.
type slowly struct {
	Verifier
	calls   atomic.Int32
	holding chan struct{} // closed when it may go on
}

func (s *slowly) VerifyFor(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error) {
	if token != "" && s.calls.Add(1) > 1 {
		<-s.holding
	}
	return s.Verifier.VerifyFor(ctx, token, by)
}

func TestTokensThatComeWhileOneIsJudgedAreJudgedOnce(t *testing.T) {
	w := newWorld(t)
	verifier := &slowly{holding: make(chan struct{})}
	n := w.node("eu-central-1", "a", func(c *Config) {
		verifier.Verifier = c.Verifier
		c.Verifier = verifier
	})
	token := w.token(authn.Subject{})
	p := connectProvider(t, n, "/")
	p.open("minutes", token)
	p.until("it is let in", func() bool { return p.doc("minutes").taken == 1 })
	p.send("minutes", 2, 0, token, "4.8.0")
	eventually(t, "another token is judged", func() bool { return verifier.calls.Load() == 2 })
	for range 100 {
		p.send("minutes", 2, 0, token, "4.8.0")
	}
	p.edit("minutes", 7, 0)
	p.until("all tokens have come", func() bool { return p.doc("minutes").taken == 2 })
	if calls := verifier.calls.Load(); calls != 2 {
		t.Errorf("%d tokens are judged at once", calls-1)
	}
	p.send("minutes", 2, 0, "no token", "4.8.0")
	p.edit("minutes", 7, 1)
	p.until("the last token has come", func() bool { return p.doc("minutes").taken == 3 })
	close(verifier.holding)
	p.until("the latest counts", func() bool { return len(p.doc("minutes").denied) == 1 })
	if calls := verifier.calls.Load(); calls != 3 {
		t.Errorf("%d tokens were judged", calls-1)
	}
}

func TestSocketsThatAreNotLetInHarmNoOther(t *testing.T) {
	w := newWorld(t)
	verifier := new(unwilling)
	n := w.node("eu-central-1", "a", func(c *Config) {
		verifier.Verifier = c.Verifier
		c.Verifier = verifier
	})
	token := w.token(authn.Subject{})
	honest := connectProvider(t, n, "/")
	honest.open("minutes", token)
	honest.until("it is let in", func() bool { return honest.doc("minutes").taken == 1 })
	verifier.is.Store(true)
	hostile := []func(i int) []byte{
		func(i int) []byte { return addressed(fmt.Sprint("doc", i), 2, 0, token) },
		func(i int) []byte { return addressed(fmt.Sprint("doc", i), 0, 2, make([]byte, 100<<10)) }, // 100 MB for documents that it never named
		func(int) []byte { return addressed("minutes", 0, 2, make([]byte, 100<<20)) },
		func(int) []byte { return addressed("minutes", 6, "for all") },
		func(i int) []byte { return addressed(strings.Repeat("x", 100*i), 2, 0, token) },
		func(int) []byte { return []byte{0xff, 0xff, 0xff, 0xff, 0x0f} },
	}
	for i, frame := range hostile {
		p := connectProvider(t, n, "/")
		p.send("minutes", 2, 0, token)
		for j := range 1000 {
			if p.conn.Write(t.Context(), websocket.MessageBinary, frame(j)) != nil {
				break
			}
		}
		honest.edit("minutes", 7, uint64(i))
		honest.until("the honest one goes on", func() bool { return honest.doc("minutes").taken == i+2 })
		if i == 1 {
			_ = p.conn.CloseNow()
		} else if code, _ := closeOf(t, p.conn); code < 1000 || code == 1001 {
			t.Errorf("the one of row %d was closed with %d", i, code)
		}
	}
	eventually(t, "nothing is left of them", func() bool { return len(n.clients.seated()) == 1 && n.docs.Len() == 1 })
}

// Of what all clients share in memory for messages that have not come whole, an app has its
// part, however many sockets they come by.
func TestUnfinishedMessagesOnSharedSocketsAreTheirApps(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Sessions.MaxDocumentBytes, c.Conns.MaxIncomingBytes = 1<<20, 16<<20 // of which an app has 4 MiB
	})
	token := w.token(authn.Subject{})
	refused := make(chan int, 8)
	part := addressed("minutes", 0, 1, make([]byte, 1<<20))[:1<<20-1000]
	for range cap(refused) {
		p := connectProvider(t, n, "/")
		p.open("minutes", token)
		p.until("it is let in", func() bool { return p.doc("minutes").taken == 1 })
		message, err := p.conn.Writer(t.Context(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = message.Write(part) // the node may hang up before
			refused <- awaitCode(t, p.conn)
		}()
	}
	oneHasNoRoom(t, refused)
}

// awaitCode is closeOf for other goroutines, and for sockets that stay until the test ends.
func awaitCode(t *testing.T, ws *websocket.Conn) int {
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			return int(websocket.CloseStatus(err))
		}
	}
}

// oneHasNoRoom waits until one of several is told to come again.
func oneHasNoRoom(t *testing.T, closed <-chan int) {
	t.Helper()
	select {
	case code := <-closed:
		if code != 1013 {
			t.Errorf("one that finds no room is closed with %d", code)
		}
	case <-time.After(time.Minute):
		t.Error("all have room")
	}
}
