package relay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/natstest"
)

var todo = docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}

// text is an update of a client that writes text into an empty document: one item of
// client 1 in the root "t", clock 0, without origins.
func text(s string) []byte {
	update := append([]byte{1, 1, 1, 0, 4, 1, 1, 't', byte(len(s))}, s...)
	return append(update, 0)
}

// send sends an update as a client does.
func send(t *testing.T, c *websocket.Conn, update []byte) {
	t.Helper()
	message := append([]byte{0, 2, byte(len(update))}, update...)
	if err := c.Write(t.Context(), websocket.MessageBinary, message); err != nil {
		t.Fatal(err)
	}
}

// has reports whether a node's room of the document holds the text.
func (n *testNode) has(s string) bool {
	d := n.docs.Get(todo)
	return d != nil && strings.Contains(string(d.Room().Export()), s)
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// short makes leases short, and has one node reach its registry by a proxy.
func (w *world) short(behind docid.NodeID) *natstest.Proxy {
	proxy := natstest.NewProxy(w.t, w.nats.URL)
	w.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter = 2*time.Second, 2*time.Second
		if c.Node == behind {
			c.Registries[license] = kvpin.Source{URL: proxy.URL}
		}
	}
	return proxy
}

// What a node holds of a life that ended without it stays out of the next one.
func TestAFormerLifeDoesNotComeBackIntoTheNext(t *testing.T) {
	w := newWorld(t)
	proxy := w.short("b")
	a := w.node("eu-central-1", "a")
	b := w.node("eu-central-1", "b")
	token := w.token(authn.Subject{})
	former := open(t, b, "todo", token)
	send(t, former, text("former life"))
	wait(t, "it is taken", func() bool { return b.has("former") })
	proxy.Cut()
	wait(t, "its lease ran out", func() bool { return b.cfg.Registry.Stats(license).LeasesLost > 0 })

	js, err := jetstream.New(natstest.Connect(t, w.nats))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "wsnode-"+string(license))
	if err == nil {
		err = kv.Purge(t.Context(), todo.PinKey())
	}
	if err != nil {
		t.Fatal(err)
	}
	open(t, a, "todo", token)
	proxy.Heal()
	if code, reason := closeOf(t, former); code != 1012 || reason != "Service restart" {
		t.Errorf("a member of the former life was closed with %d %q, expected 1012", code, reason)
	}
	again := open(t, b, "todo", token)
	wait(t, "the new life has both nodes", func() bool { return len(a.docs.Get(todo).Room().Pods()) == 1 })
	if a.has("former") || b.has("former") {
		t.Error("the former life came back")
	}
	send(t, again, text("brought along"))
	wait(t, "what a client brings is taken", func() bool { return a.has("brought") })
}

func TestDocumentsOfANodeWithoutTheRegistryStayPinned(t *testing.T) {
	w := newWorld(t)
	proxy := w.short("b")
	a := w.node("eu-central-1", "a")
	b := w.node("eu-central-1", "b")
	token := w.token(authn.Subject{})
	send(t, open(t, b, "todo", token), text("still here"))
	wait(t, "it is taken", func() bool { return b.has("still") })
	proxy.Cut()
	wait(t, "its lease ran out", func() bool {
		_, state, err := a.cfg.Registry.Lookup(t.Context(), todo)
		return err == nil && state == kvpin.Orphaned
	})
	// As long as a sweep and the grace period take, and half as long again.
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, state, err := a.cfg.Registry.Lookup(t.Context(), todo); err == nil && state != kvpin.Orphaned {
			t.Fatalf("the pin is %s", state)
		}
	}
	open(t, a, "todo", token)
	if !a.has("still") {
		t.Error("another node of the region opened it empty")
	}
	proxy.Heal()
	wait(t, "the registry is back", func() bool {
		s := b.cfg.Registry.Stats(license)
		return s.Reachable && s.Owed == 0 && s.Validating == 0
	})
}

func TestTheRegionIsAskedWhoHasADocumentOpen(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	if alive, err := n.alive(t.Context(), todo, "e"); alive || err != nil {
		t.Errorf("nobody has it: %v, %v", alive, err)
	}
	nc := natstest.Connect(t, w.nats)
	answer := func([]byte) []byte { return nil }
	sub, err := nc.Subscribe(todo.SignalsSubject(), func(m *nats.Msg) {
		if a := answer(m.Data); a != nil {
			_ = m.Respond(a)
		}
	})
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if alive, err := n.alive(ctx, todo, "e"); alive || !errors.Is(err, kvpin.ErrSilent) {
		t.Errorf("who has it is silent: %v, %v", alive, err)
	}
	_ = sub.Unsubscribe()
	other := w.node("eu-central-1", "b")
	open(t, other, "todo", w.token(authn.Subject{}))
	epoch := kvpin.Epoch(other.docs.Get(todo).Room().Epoch())
	for e, want := range map[kvpin.Epoch]bool{epoch: true, "another": false} {
		if alive, err := n.alive(t.Context(), todo, e); alive != want || err != nil {
			t.Errorf("epoch %s: %v, %v", e, alive, err)
		}
	}
}
