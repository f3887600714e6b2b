package live

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
)

// unlisted is a history that cannot be listed while it fails, and holds nothing.
type unlisted struct {
	History
	fails  atomic.Bool
	listed atomic.Int64 // times that it was listed
}

func (u *unlisted) Subjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) {
		if u.fails.Load() {
			yield(history.Subject{}, history.ErrUnavailable)
			return
		}
		u.listed.Add(1)
	}
}

func (u *unlisted) StoredSubjects(ctx context.Context, filter string) iter.Seq2[history.Subject, error] {
	return u.Subjects(ctx, filter)
}

// alone is a bus on which nobody is heard.
type alone struct {
	Bus
	said atomic.Int64
}

func (*alone) Subscribe(string, bus.Handler) (*bus.Subscription, error) {
	return nil, errors.New("nobody is heard")
}

func (a *alone) Publish(string, []byte) error {
	a.said.Add(1)
	return nil
}

// Others put their sweeps off for one that they hear of: it must have been one.
func TestASweepThatFailsLeavesTheNextToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := new(unlisted), new(alone)
		s := &sweep{docs: &Documents{o: Options{History: h, Bus: b, Log: slog.New(slog.DiscardHandler)}}, every: time.Minute, swept: make(chan struct{}, 1)}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		h.fails.Store(true)
		go s.run(ctx)
		time.Sleep(time.Hour)
		if said := b.said.Load(); said > 0 {
			t.Errorf("a node that cannot sweep has said %d times that it did", said)
		}
		h.fails.Store(false)
		time.Sleep(time.Hour)
		if b.said.Load() == 0 {
			t.Error("a node that sweeps does not say so")
		}
	})
}

// Nobody else looks for what a dead node was to remove: a look that fails is repeated before the
// next routine one.
func TestALookForWhatADeadNodeLeftIsRepeatedIfItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(unlisted)
		ds := &Documents{o: Options{History: h, Bus: new(alone), Log: slog.New(slog.DiscardHandler), SweepEvery: time.Hour}}
		s := &ds.sweep
		s.init(ds)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go s.run(ctx)
		s.Receive("", "", nil) // the routine look is an hour off
		synctest.Wait()
		h.fails.Store(true)
		s.soon(license)
		time.Sleep(s.confirmAfter() + time.Minute) // it fails twice
		h.fails.Store(false)
		time.Sleep(2 * s.confirmAfter())
		synctest.Wait()
		if h.listed.Load() == 0 {
			t.Error("what the dead node left is not looked for again")
		}
		if len(s.again) > 0 {
			t.Error("it is remembered that it failed")
		}
	})
}

// unread is a history with a life of one message that cannot be read.
type unread struct{ *unlisted }

func (unread) StoredSubjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) {
		yield(history.Subject{Name: todo.UpdatesSubject(0, docid.NewStoredEpoch("left")), Messages: 1}, nil)
	}
}

func (unread) Shard(string) int { return 0 }

func (unread) LoadFrom(context.Context, string, uint64, func(uint64, []byte) error) (uint64, error) {
	return 0, history.ErrUnavailable
}

// A history that cannot be read may be one that was left: whoever looks again finds out.
func TestASweepPassesNoHistoryOverThatCannotBeRead(t *testing.T) {
	r, _ := storing(t)
	o := Options{Registry: serving{}, History: unread{new(unlisted)}, Bus: new(alone), Log: slog.New(slog.DiscardHandler), SweepEvery: time.Hour}
	r.stores(&o)
	ds := New(t.Context(), t.Context(), o)
	if err := ds.sweep.look(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if len(ds.purges.owed) != 1 {
		t.Errorf("%d lives are looked at again, expected 1", len(ds.purges.owed))
	}
}

// leftLife is a history in which a stored life was left.
type leftLife struct{ *unlisted }

func (leftLife) StoredSubjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) {
		yield(history.Subject{Name: todo.UpdatesSubject(0, docid.NewStoredEpoch("left")), Messages: 2}, nil)
	}
}

func (*alone) Request(context.Context, string, []byte) ([]byte, error) { return nil, bus.ErrNobody }

type serving struct{ Registry }

func (serving) Serves(docid.LicenseRegion) bool { return true }

// What a node without the store leaves to those that have it is looked for by one of them: it
// does not have them put off their sweeps.
func TestANodeWithoutTheStoreLeavesTheSweepToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(alone)
		ds := &Documents{o: Options{Registry: serving{}, History: leftLife{new(unlisted)}, Bus: b, Log: slog.New(slog.DiscardHandler)}}
		go (&sweep{docs: ds, every: time.Minute, swept: make(chan struct{}, 1)}).run(t.Context())
		time.Sleep(time.Hour)
		if said := b.said.Load(); said > 0 {
			t.Errorf("it has said %d times that it swept", said)
		}
	})
}

// The node that the last user left dies, or ends, before the pin has expired: that the history is
// to go then, nobody else knows, and the next routine look is far.
func TestWhatANodeWasToRemoveThatIsGoneIsLookedForSoon(t *testing.T) {
	for name, goes := range map[string]func(*node){"dies": (*node).kill, "ends in order": func(n *node) { n.end() }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := storing(t)
			var swept sync.Map // by nodes that have looked for what was there before them
			r.pins = func(c *kvpin.Config) {
				c.SweepAfter, c.SweepEvery = 3*time.Second, time.Hour
				c.Observe = func(op string, _ time.Duration, err error) {
					if op == "sweep" && err == nil {
						swept.Store(c.Node, true)
					}
				}
			}
			r.brief()
			r.options = func(o *Options) { o.SweepEvery = time.Minute }
			a, b := r.node("a"), r.node("b")
			for _, n := range []*node{a, b} {
				eventually(t, "it has looked", func() bool { _, has := swept.Load(n.o.Node); return has })
			}
			v := a.visit(t)
			v.types("one")
			l := life{todo, v.d.Room().Epoch()}
			if err := a.bus.Publish(sweptSubject, nil); err != nil { // the routine look is a minute off
				t.Fatal(err)
			}
			v.leave()
			a.settle(t)
			goes(a)
			if b.holds(t, l).Messages == 0 {
				t.Fatal("the history has gone before the node has")
			}
			b.free(t)
		})
	}
}
