package relay

import (
	"testing"

	"github.com/wsnode/wsnode/authn"
)

func TestAnotherTokenChangesTheRightsOfADocument(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	whole, reading := w.token(authn.Subject{}), w.token(authn.Subject{ReadOnly: true})
	other := open(t, n, "minutes", whole)
	p := connectProvider(t, n, "/")
	p.open("minutes", whole)
	p.open("plans", whole)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("both are in", func() bool { return minutes.taken == 1 && plans.taken == 1 })
	has(t, other, p.edit("minutes", 7, 0))
	p.until("it is acknowledged", func() bool { return minutes.taken == 2 })
	p.send("minutes", 2, 0, reading, "4.8.0")
	p.until("it may only read", func() bool { return len(minutes.granted) == 2 && minutes.granted[1] == "readonly" })
	p.until("it was asked for what it has", func() bool { return minutes.step1 == 2 })
	kept := p.edit("minutes", 7, 1)
	p.until("an edit is not taken", func() bool { return minutes.notTaken == 1 })
	p.edit("plans", 7, 0)
	p.until("the other document goes on", func() bool { return plans.taken == 2 })
	p.send("minutes", 2, 0, whole, "4.8.0")
	p.until("it may edit again", func() bool { return len(minutes.granted) == 3 && minutes.granted[2] == "read-write" })
	p.until("it was asked for what it has", func() bool { return minutes.step1 == 3 })
	has(t, other, kept)
	p.send("minutes", 2, 0, w.token(authn.Subject{Tenant: "evil", App: "notes", License: license}), "4.8.0")
	p.until("a token for another document ends it", func() bool { return len(minutes.denied) == 1 })
	if minutes.denied[0] != "Forbidden: document" || len(plans.granted) != 1 || plans.step1 != 1 {
		t.Error(p)
	}
}

func TestDocumentsOnOneConnectionAreOneConnectionOfTheApp(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{Limits: authn.Limits{MaxConnections: 1, MaxUsersPerDoc: 1}})
	p := connectProvider(t, n, "/")
	p.open("minutes", token)
	p.open("plans", token)
	p.until("two are in", func() bool { return p.doc("minutes").taken == 1 && p.doc("plans").taken == 1 })
	p.open("minutes\x00again", token) // not before: each is let in by a goroutine of its own
	p.until("a second user of one is not", func() bool { return len(p.doc("minutes\x00again").denied) == 1 })
	if reason := p.doc("minutes\x00again").denied[0]; reason != "Document user limit exceeded: 1" {
		t.Error(reason)
	}
	other := connectProvider(t, n, "/")
	other.open("notes", token)
	other.until("another connection is refused", func() bool { return len(other.doc("notes").denied) == 1 })
	if reason := other.doc("notes").denied[0]; reason != "Connection limit exceeded: 1" {
		t.Error(reason)
	}
}
