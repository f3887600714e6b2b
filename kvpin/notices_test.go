package kvpin

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

func (n *testNode) wasTold(doc docid.Document) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.told, doc)
}

// tell tells the holders of a pin within a time.
func (n *testNode) tell(doc docid.Document, p Pin, anybody bool, within time.Duration) []docid.NodeID {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	silent, err := n.StoreChanged(ctx, doc, p, anybody)
	if (err != nil) != (len(silent) > 0) {
		n.t.Fatalf("silent are %v: %v", silent, err)
	}
	return silent
}

func TestAnEvictedPinIsGoneAndItsHoldersAreTold(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b.two")
		operator := w.node("us-east-1", "c")
		doc := testDoc("x")
		a.hold(doc)
		b.hold(doc)
		b.failures = 2 // it cannot look at first
		var removed []Pin
		operator.patiently(func() error {
			found, err := operator.Evict(context.Background(), doc)
			removed = append(removed, found...)
			return err
		})
		if len(removed) == 0 || len(removed[0].Holders) != 2 {
			w.t.Fatalf("removed %+v", removed)
		}
		if _, ok := w.pin(doc); ok {
			w.t.Error("still pinned")
		}
		if silent := operator.tell(doc, removed[0], true, time.Minute); len(silent) > 0 || !a.wasTold(doc) || !b.wasTold(doc) {
			w.t.Errorf("silent are %v, told are a: %t, b: %t", silent, a.wasTold(doc), b.wasTold(doc))
		}
		if removed, err := operator.Evict(context.Background(), doc); err != nil || len(removed) != 0 {
			w.t.Errorf("removed %+v: %v", removed, err)
		}
	})
}

// A holder that lives and says nothing is waited for; one whose lease is gone is not:
// it looks by itself when it comes back. What was left for it waits.
func TestAHolderWhoseLeaseIsGoneIsNotWaitedFor(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		a.hold(doc)
		p, _ := w.pin(doc)
		a.link.Sever()
		if silent := b.tell(doc, p, false, time.Second); !slices.Equal(silent, []docid.NodeID{"a"}) {
			w.t.Errorf("after a second silent are %v", silent)
		}
		if silent := b.tell(doc, p, false, time.Minute); len(silent) > 0 {
			w.t.Errorf("after the lease silent are %v", silent)
		}
		asked, err := b.Unanswered(context.Background(), doc)
		if err != nil || len(asked) != 1 || asked[0].Epoch != p.Epoch || !slices.Equal(asked[0].Holders, p.Holders) {
			w.t.Errorf("who has not answered is %+v, %v", asked, err)
		}
		if asked, err := b.Unanswered(context.Background(), testDoc("y")); err != nil || len(asked) > 0 {
			w.t.Errorf("about another document %+v were asked, %v", asked, err)
		}
		a.link.Resume()
		eventually(w.t, time.Minute, "it looks when it is back", func() bool { return a.wasTold(doc) })
	})
}

// A pin that nobody holds is of a region all the same, which has histories to purge.
func TestANodeOfTheRegionIsToldInThePlaceOfHolders(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		doc := testDoc("x")
		release(w.t, a.hold(doc))
		p, _ := w.pin(doc)
		if silent := b.tell(doc, p, false, time.Minute); len(silent) > 0 || a.wasTold(doc) {
			w.t.Errorf("silent are %v, told is a: %t", silent, a.wasTold(doc))
		}
		if silent := b.tell(doc, p, true, time.Minute); len(silent) > 0 || !a.wasTold(doc) || b.wasTold(doc) {
			w.t.Errorf("silent are %v, told are a: %t, b: %t", silent, a.wasTold(doc), b.wasTold(doc))
		}
	})
}

func TestAnEvictionWithoutAnAnswerNamesThePinAllTheSame(t *testing.T) {
	for name, o := range uncertain {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
				doc := testDoc("x")
				a.hold(doc)
				b.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				removed, err := b.Evict(ctx, doc)
				if err != nil || len(removed) == 0 || len(removed[0].Holders) != 1 {
					w.t.Fatalf("removed %+v: %v", removed, err)
				}
				if _, ok := w.pin(doc); ok {
					w.t.Error("still pinned")
				}
			})
		})
	}
}

// A document that is open for long is looked at now and then, whoever renews its pin.
func TestRoomsAreToldThatTheirPinWasRenewed(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		a.hold(doc)
		b.hold(doc)
		for _, n := range []*testNode{a, b} {
			eventually(w.t, 8*time.Hour, "it is told", func() bool {
				time.Sleep(time.Minute)
				n.mu.Lock()
				defer n.mu.Unlock()
				return slices.Contains(n.renewed, doc)
			})
		}
	})
}

// The life of a document that was deleted has no grace period in which it is taken up.
func TestAVoidHoldLeavesNoPin(t *testing.T) {
	worlds(t, func(w *world) {
		a, b := w.node("eu-central-1", "a"), w.node("eu-central-1", "b")
		doc := testDoc("x")
		one, two := a.hold(doc), b.hold(doc)
		one.Void()
		two.Void()
		if release(w.t, one) {
			w.t.Error("the first to leave was the last")
		}
		if p, ok := w.pin(doc); !ok || len(p.Holders) != 1 {
			w.t.Errorf("while another node holds it, it is pinned: %t, %+v", ok, p)
		}
		if !release(w.t, two) {
			w.t.Error("the last to leave was not")
		}
		if p, ok := w.pin(doc); ok {
			w.t.Errorf("still pinned: %+v", p)
		}
	})
}
