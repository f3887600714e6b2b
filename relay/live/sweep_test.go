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
	fails atomic.Bool
}

func (u *unlisted) Subjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) {
		if u.fails.Load() {
			yield(history.Subject{}, history.ErrUnavailable)
		}
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
