package relay

import (
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/room"
)

func TestStatelessMessagesGoToAllOthersOfTheDocument(t *testing.T) {
	w := newWorld(t)
	broadcast := func(c *Config) { c.Stateless = apps.StatelessBroadcast }
	a, b := w.node("eu-central-1", "a", broadcast), w.node("eu-central-1", "b", broadcast)
	token := w.token(authn.Subject{})
	other := open(t, b, "minutes", token) // of y-websocket, which has no such messages
	here, there := connectProvider(t, a, "/"), connectProvider(t, b, "/")
	for _, p := range []*provider{here, there} {
		p.open("minutes", token)
		p.open("plans", token)
		p.until("both are in", func() bool { return p.doc("minutes").taken == 1 && p.doc("plans").taken == 1 })
	}
	here.open("minutes\x00twice", token)
	here.until("it is in a second time", func() bool { return here.doc("minutes\x00twice").taken == 1 })
	u := here.edit("minutes", 7, 0)
	has(t, other, u) // so the nodes know of each other
	here.send("minutes", 5, "hello")
	here.send("minutes", 5, "\xff\xfe") // no client could read it
	here.send("minutes", 5, strings.Repeat("x", room.MaxStateless+1))
	here.send("minutes", 5, "goodbye")
	heard := func(d *providerDoc) func() bool {
		return func() bool { return strings.Join(d.stateless, " ") == "hello goodbye" }
	}
	here.until("the other one of the socket is told", heard(here.doc("minutes\x00twice")))
	there.until("who is on the other node is told", heard(there.doc("minutes")))
	has(t, other, there.edit("minutes", 8, 0)) // still there
	reader := connectProvider(t, a, "/")
	reader.open("minutes", w.token(authn.Subject{ReadOnly: true}))
	// It is granted before it is in.
	reader.until("a reader is in", func() bool { return len(reader.doc("minutes").granted) == 1 && reader.doc("minutes").taken == 1 })
	reader.send("minutes", 5, "from a reader")
	reader.send("minutes", 0, 0, []byte{0})
	here.send("minutes", 5, "last")
	reader.until("a reader is told", func() bool { return len(reader.doc("minutes").stateless) == 1 })
	eventually(t, "a reader's own is dropped", func() bool { return a.figures().Rooms.Stateless["readonly"] == 1 })
	if d := here.doc("minutes"); len(d.stateless)+len(here.doc("plans").stateless)+len(there.doc("plans").stateless) > 0 {
		t.Errorf("told of it were others, too: %s", here)
	}
	if s := a.figures().Rooms.Stateless; s["passed"] != 3 || s["invalid"] != 1 || s["too_large"] != 1 || s["off"] != 0 {
		t.Errorf("counted are %v", s)
	}
}

func TestStatelessMessagesAreDroppedByDefaultAndSettledByApp(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Apps = func(app docid.AppID) (s apps.Settings) {
			if app.App == "chat" {
				s.Stateless = apps.StatelessBroadcast
			}
			return s
		}
	})
	for app, expected := range map[docid.App]int{"notes": 0, "chat": 1} {
		token := w.token(authn.Subject{Tenant: "acme", App: app, License: license})
		one, two := connectProvider(t, n, "/"), connectProvider(t, n, "/")
		for _, p := range []*provider{one, two} {
			p.open("minutes", token)
			p.until("it is in", func() bool { return p.doc("minutes").taken == 1 })
		}
		one.send("minutes", 5, "hello")
		u := one.edit("minutes", 7, 0)
		two.until("what was sent behind it has come", func() bool {
			brings, err := two.doc("minutes").store.Brings(u)
			return err == nil && !brings
		})
		if got := len(two.doc("minutes").stateless); got != expected {
			t.Errorf("%s: %d messages", app, got)
		}
	}
	if s := n.figures().Rooms.Stateless; s["off"] != 1 || s["passed"] != 1 {
		t.Errorf("counted are %v", s)
	}
}

func TestStatelessMessagesAreOperations(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) { c.Stateless = apps.StatelessBroadcast })
	p := connectProvider(t, n, "/")
	p.open("minutes", w.token(authn.Subject{Limits: authn.Limits{OpsPerMinute: 3}}))
	p.until("it is in", func() bool { return p.doc("minutes").taken == 1 })
	for range 4 {
		p.send("minutes", 5, "hello")
	}
	p.until("it is ended", func() bool { return len(p.doc("minutes").denied) == 1 })
	if reason := p.doc("minutes").denied[0]; reason != "Rate limit exceeded: 3 ops/min" {
		t.Error(reason)
	}
}
