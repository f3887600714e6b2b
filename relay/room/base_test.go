package room

import (
	"context"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestWhatLayBeforeTheHistoryIsThereBeforeAnybodyJoins(t *testing.T) {
	p := newPod(t, natstest.Server(t).URL)
	first := p.open(t, "e1")
	_, seat := join(t, first)
	apply(t, seat, (&writer{client: 1}).insert("history"))
	durable(t, first)
	first.Close()
	for epoch, messages := range map[string]int{"e1": 1, "e2": 0} {
		for _, fresh := range []bool{true, false} {
			var told []oplog.Loaded
			r, err := p.Open(t.Context(), doc, epoch, fresh, func(_ context.Context, found oplog.Loaded) ([]byte, error) {
				told = append(told, found)
				return (&writer{client: 2}).insert("before"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(told) != 1 || told[0].Messages != messages || (told[0].Last > 0) != (messages > 0) {
				t.Errorf("%s, fresh %v: it was told of %+v", epoch, fresh, told)
			}
			m, _ := join(t, r)
			if got := clockOf(t, m, 2); got != uint64(len("before")) {
				t.Errorf("%s, fresh %v: a member knows %d of what lay before", epoch, fresh, got)
			}
			if got := clockOf(t, m, 1); (got > 0) != (messages > 0) {
				t.Errorf("%s, fresh %v: a member knows %d of the history", epoch, fresh, got)
			}
			r.Close()
		}
	}
}

func TestADocumentWhoseBaseIsNotToBeHadDoesNotOpen(t *testing.T) {
	p := newPod(t, natstest.Server(t).URL)
	away := errors.New("the store is away")
	for name, base := range map[string]Base{
		"away":      func(context.Context, oplog.Loaded) ([]byte, error) { return nil, away },
		"malformed": func(context.Context, oplog.Loaded) ([]byte, error) { return []byte{1, 2, 3}, nil },
	} {
		r, err := p.Open(t.Context(), doc, "e1", true, base)
		if err == nil || name == "away" && !errors.Is(err, away) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if n := len(p.all()); n > 0 || p.bus.Stats().Subscriptions != 1 {
		t.Errorf("%d rooms and %d subscriptions are left, expected the pod's own", n, p.bus.Stats().Subscriptions)
	}
}
