package relay

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/test/natstest"
)

// moves makes another region the document's, as it is after that region took the
// document over, and has the node that held it look.
func (w *world) moves(name string, from, to *testNode) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: name}
	taker := open(w.t, to, "taken-first", w.token(authn.Subject{}))
	defer func() { _ = taker.CloseNow() }()
	other, _, err := to.cfg.Registry.Lookup(ctx, docid.Document{License: license, Tenant: "acme", App: "notes", Name: "taken-first"})
	if err != nil {
		w.t.Fatal(err)
	}
	js, err := jetstream.New(natstest.Connect(w.t, w.nats))
	if err != nil {
		w.t.Fatal(err)
	}
	kv, err := js.KeyValue(ctx, "wsnode-"+string(license))
	if err != nil {
		w.t.Fatal(err)
	}
	pin, err := json.Marshal(map[string]any{"region": other.Region, "epoch": "another", "holders": other.Holders, "since": time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := kv.Put(ctx, doc.PinKey(), pin); err != nil {
		w.t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "notice."+string(from.cfg.Node)+".look", []byte(doc.PinKey())); err != nil {
		w.t.Fatal(err)
	}
}

func TestNobodyJoinsADocumentThatHasMoved(t *testing.T) {
	w := newWorld(t)
	patient := func(c *Config) { c.Grace = time.Minute }
	a, b := w.node("eu-central-1", "a", patient), w.node("us-east-1", "b", patient)
	token := w.token(authn.Subject{})
	first := open(t, a, "todo", token)
	open(t, a, "todo", token) // reads nothing: it lingers for as long as it may
	w.moves("todo", a, b)
	for i := range 3 {
		c := first
		if i > 0 {
			c, _, _ = dial(t, a.addr, "/todo", token, nil)
		}
		if code, reason := closeOf(t, c); code != closecode.Redirect || reason != "REDIRECT:ws://us-east-1.example/todo" {
			t.Errorf("client %d was closed with %d %q, expected to be redirected", i, code, reason)
		}
	}
}
