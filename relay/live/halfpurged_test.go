package live

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/storage"
)

// halfway is a history that fails once while a life is ended: it takes the marker and does not
// answer, or refuses the purge behind it.
type halfway struct {
	History
	losesAnswer, refusesPurge atomic.Bool
}

func (h *halfway) AppendAfter(ctx context.Context, subject string, data []byte, last uint64, ttl time.Duration) (uint64, error) {
	seq, err := h.History.AppendAfter(ctx, subject, data, last, ttl)
	if err == nil && ttl > 0 && h.losesAnswer.CompareAndSwap(true, false) {
		return 0, history.ErrUnavailable
	}
	return seq, err
}

func (h *halfway) PurgeBelow(ctx context.Context, subject string, seq uint64) error {
	if h.refusesPurge.CompareAndSwap(true, false) {
		return &history.RefusedError{}
	}
	return h.History.PurgeBelow(ctx, subject, seq)
}

// halfPurges are the ways in which a marker is left and what it stands for is not purged.
var halfPurges = map[string]func(*halfway) *atomic.Bool{
	"the answer to the marker is lost": func(h *halfway) *atomic.Bool { return &h.losesAnswer },
	"the purge is refused":             func(h *halfway) *atomic.Bool { return &h.refusesPurge },
}

// halfway has the nodes of a region end lives by a history that fails in a way.
func (r region) halfway(fails func(*halfway) *atomic.Bool) (_ region, failing *atomic.Bool) {
	h := new(halfway)
	r.options = func(o *Options) { h.History, o.History = o.History, h }
	return r, fails(h)
}

// A marker says that what stood before it is not needed, not that it is gone.
func TestALifeWhoseMarkerIsLeftIsPurgedAllTheSame(t *testing.T) {
	for name, fails := range halfPurges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := storing(t)
			r, failing := r.halfway(fails)
			n := r.node("a")
			v := n.visit(t)
			v.types("one")
			failing.Store(true)
			v.leave()
			n.settle(t)
			eventually(t, "it fails", func() bool { return !failing.Load() })
			n.free(t)
		})
	}
}

// So is one whose node died between the two, by whoever looks at what is left.
func TestALifeIsPurgedWhoseNodeDiedBehindItsMarker(t *testing.T) {
	r, _ := storing(t)
	dying, failing := r.halfway(halfPurges["the purge is refused"])
	a := dying.node("a")
	v := a.visit(t)
	v.types("one")
	l := life{todo, v.d.Room().Epoch()}
	failing.Store(true)
	v.leave()
	a.settle(t)
	eventually(t, "the marker is left", func() bool { return !failing.Load() })
	a.kill()
	b := r.node("b")
	if left := b.holds(t, l); left.Messages < 2 {
		t.Fatalf("nothing was left but the marker: %+v", left)
	}
	s := &sweep{docs: b.Documents, every: time.Second}
	if err := s.look(t.Context(), license); err != nil {
		t.Fatal(err)
	}
	b.free(t)
}

// What was deleted is gone when a node says that it has followed the deletion.
func TestADeletionIsFollowedToTheEndWhoseMarkerIsLeft(t *testing.T) {
	for name, fails := range halfPurges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := storing(t)
			a := r.node("a")
			v := a.visit(t)
			v.types("one")
			a.savesNow(t, v)
			l := life{todo, v.d.Room().Epoch()}
			a.kill()
			r, failing := r.halfway(fails)
			b := r.node("b")
			meta := storage.Meta{Generation: storage.NewGeneration()}
			if _, err := s.Store.Delete(t.Context(), todo, stored(t, s.Store).Version, meta); err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			if err := b.follower.Told(t.Context(), todo, kvpin.Epoch(l.epoch)); err == nil || failing.Load() {
				t.Fatalf("nothing has failed: %v", err)
			}
			if err := b.follower.Told(t.Context(), todo, kvpin.Epoch(l.epoch)); err != nil {
				t.Fatal(err)
			}
			if left := b.holds(t, l); left.Messages != 1 {
				t.Errorf("of what was deleted is left: %+v", left)
			}
		})
	}
}
