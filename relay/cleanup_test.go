package relay

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAnEpochIsOverOnlyIfNobodyInTheRegionHasIt(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
	debt := owed{doc, "an-epoch"} // of which the registry knows nothing
	if gone, err := n.cleanup.gone(t.Context(), debt); err != nil || !gone {
		t.Errorf("nobody has it: %v, %v", gone, err)
	}
	nc := natstest.Connect(t, w.nats)
	silent, err := nc.Subscribe(doc.SignalsSubject(), func(*nats.Msg) {})
	if err = errors.Join(err, nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if gone, err := n.cleanup.gone(t.Context(), debt); gone || !errors.Is(err, errNoWord) {
		t.Errorf("a room is there, and silent: %v, %v", gone, err)
	}
	if err := errors.Join(silent.Unsubscribe(), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	open(t, n, "todo", w.token(authn.Subject{}))
	if gone, err := n.cleanup.gone(t.Context(), debt); err != nil || !gone {
		t.Errorf("it is live in a later epoch: %v, %v", gone, err)
	}
	debt.epoch = n.docs.get(doc).room.Epoch()
	if gone, err := n.cleanup.gone(t.Context(), debt); err != nil || gone {
		t.Errorf("it is live: %v, %v", gone, err)
	}
}
