package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// impatient gives requests to a store up that does not answer, as nodes do after --store-timeout.
type impatient struct{ storage.Store }

func (s impatient) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	return s.Store.Save(ctx, d, expect, m, body)
}

// The heart of it: the store fails just when the last one leaves. Whoever comes finds
// everything, the pin keeps others away, and it is stored as soon as that can be.
func TestWhatCannotBeStoredAtTheEndIsOwed(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Slow, storagetest.Refusal, storagetest.Truncated, storagetest.LostReply} {
		t.Run(string(fault), func(t *testing.T) {
			r, s := storing(t)
			r.store = impatient{s}
			n := r.node("a")
			s.Set(fault)
			v := n.visit2(t, s)
			v.types("one")
			v.leave()
			n.settle(t)
			if fault != storagetest.LostReply {
				if pin, state := n.state(t); state != kvpin.Owed || len(pin.Holders) != 0 {
					t.Fatalf("the pin is %s: %+v", state, pin)
				}
				again := n.visit(t) // the store is away, the history is not
				again.reads("one")
				again.leave()
				n.settle(t)
				if _, state := n.state(t); state != kvpin.Owed {
					t.Fatalf("the pin is %s", state)
				}
				other := r
				other.name = "us-east-1"
				if _, err := other.node("b").tryVisit(t); err == nil {
					t.Error("another region has opened it")
				}
			}
			s.Set(storagetest.None)
			n.free(t)
			if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) {
				t.Errorf("the store holds %q", got.Body)
			}
		})
	}
}

// Users who come and go while the store is away make what it lacks no younger: the alert that
// waits for its age would never fire.
func TestWhatIsNotStoredGetsNoYoungerWhileUsersComeAndGo(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	s.Set(storagetest.Down)
	v := n.visit2(t, s)
	v.types("one")
	typed := time.Now()
	is := func(what string, dirty, owed int) {
		t.Helper()
		least := time.Since(typed)
		if got := n.Storing(); got.Oldest < least || got.Dirty != dirty || got.Owed != owed {
			t.Errorf("%s: %+v, expected %d and %d since more than %v", what, got, dirty, owed, least)
		}
	}
	is("typed", 1, 0)
	for range 3 {
		v.leave()
		n.settle(t)
		is("left", 0, 1)
		v = n.visit(t)
		is("open again", 1, 0)
	}
	s.Set(storagetest.None)
	eventually(t, "it is stored", func() bool { return n.Storing() == Storing{} })
	v.leave()
	n.free(t)
}

// Rule 8: the second to leave sees that the first has left.
func TestTheLastTwoLeaveAtTheSameInstant(t *testing.T) {
	r, s := storing(t)
	a, b := r.node("a"), r.node("b")
	for round := range 3 {
		one, two := a.visit(t), b.visit(t)
		one.types(fmt.Sprint("one ", round))
		two.types(fmt.Sprint("two ", round))
		go one.leave()
		go two.leave()
		a.eventuallyGone(t)
		b.eventuallyGone(t)
		a.free(t)
		got := stored(t, s.Store)
		for i := range round + 1 {
			if !bytes.Contains(got.Body, []byte(fmt.Sprint("one ", i))) || !bytes.Contains(got.Body, []byte(fmt.Sprint("two ", i))) {
				t.Fatalf("after round %d the store holds %q", round, got.Body)
			}
		}
	}
}

// A node dies between the history's acknowledgement and the store.
func TestWhatADeadNodeHadAcknowledgedIsStoredByItsRegion(t *testing.T) {
	r, s := storing(t)
	r.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter, c.SweepEvery = 2*time.Second, 2*time.Second, time.Second
	}
	a, b := r.node("a"), r.node("b")
	v := a.visit(t)
	s.Set(storagetest.Down)
	v.types("one")
	a.kill()
	eventually(t, "the region keeps the orphan", func() bool { _, state := b.state(t); return state == kvpin.Owed })
	s.Set(storagetest.None)
	b.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) {
		t.Errorf("the store holds %q", got.Body)
	}
}

// A node that ends in order while the store is away leaves what it owes to the others, long
// after these began, and looked for what was there before them.
func TestWhatANodeThatEndsOwesIsStoredByTheOthers(t *testing.T) {
	r, s := storing(t)
	var swept atomic.Int64
	r.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter = 2*time.Second, 2*time.Second
		c.Observe = func(op string, _ time.Duration, err error) {
			if op == "sweep" && err == nil {
				swept.Add(1)
			}
		}
	}
	a, b := r.node("a"), r.node("b")
	eventually(t, "both have looked", func() bool { return swept.Load() >= 2 })
	v := a.visit(t)
	s.Set(storagetest.Down)
	v.types("one")
	v.leave()
	a.end()
	s.Set(storagetest.None)
	b.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) {
		t.Errorf("the store holds %q", got.Body)
	}
}

// A node that is dead and has yet to be missed by NATS may have what nobody else has: the life
// does not end. But what its history has is stored.
func TestASilentNodeKeepsALifeFromItsEndAndNotFromItsStore(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	l := life{todo, v.d.Room().Epoch()}
	s.Set(storagetest.Down)
	v.types("one")
	v.leave()
	n.settle(t)
	eventually(t, "it was tried to store it", func() bool {
		n.payments.mu.Lock()
		defer n.payments.mu.Unlock()
		return n.payments.storeLocked(license).wait > 0
	})
	end := r.silentNode()
	defer end()
	s.Set(storagetest.None)
	eventually(t, "it is stored", func() bool {
		if _, err := n.payments.endLife(t.Context(), l); err != nil && !errors.Is(err, errNoWord) && !errors.Is(err, errAgain) {
			t.Fatal(err)
		}
		return bytes.Contains(stored(t, s.Store).Body, []byte("one"))
	})
	if _, err := n.payments.endLife(t.Context(), l); !errors.Is(err, errNoWord) {
		t.Errorf("it comes to its end while a node is silent: %v", err)
	}
	if pin, state := n.state(t); state != kvpin.Owed {
		t.Errorf("its pin is %s: %+v", state, pin)
	}
	end()
	n.purges.at(l, time.Now())
	n.free(t)
}

// A store that is away is asked for one life at a time. A life that does not come to ask gives
// its turn to another.
func TestWhoDoesNotAskTheStoreKeepsNoOtherFromAsking(t *testing.T) {
	for name, unasked := range map[string]func(p *payments, l life){
		"somebody opens it":            func(p *payments, l life) { p.unasked(l.doc.License) },
		"its history does not answer":  func(p *payments, l life) { p.came(l, errors.New("no answer")) },
		"it waits for somebody's look": func(p *payments, l life) { p.stuck[l] = struct{}{}; p.came(l, errVanished) },
	} {
		t.Run(name, func(t *testing.T) {
			n := region{t: t}.unstarted()
			p, l := &n.payments, life{todo, "s-1"}
			*p.storeLocked(license) = backoff{wait: payMost}
			now := time.Now()
			if wait := p.mayPay(license, now); wait > 0 {
				t.Fatalf("the first life waits for %s", wait)
			}
			if wait := p.mayPay(license, now); wait < payMost {
				t.Fatalf("the second waits for %s, while the first asks", wait)
			}
			unasked(p, l)
			if wait := p.mayPay(license, now); wait > 0 {
				t.Errorf("another one waits for %s", wait)
			}
		})
	}
}

// What fails again and again of one life, and is neither the store's nor the registry's, an
// operator hears of once.
func TestALifeThatDoesNotComeToItsEndIsToldOnce(t *testing.T) {
	n := region{t: t}.unstarted()
	p, l, now := &n.payments, life{todo, "s-1"}, time.Now()
	fails := func(times int, err error) {
		for range times {
			now = now.Add(lookAgain)
			p.looked(l, err, now)
		}
	}
	told := func() int { return n.log.count("does not come to its end") }
	fails(20, &storeError{"save", errors.New("down")})
	fails(20, kvpin.ErrUnavailable)
	fails(20, errVanished)
	fails(6, errors.New("the history does not answer"))
	if told() != 0 {
		t.Errorf("it is told too soon, or what others tell: %s", n.log.text.String())
	}
	fails(20, errors.New("the history does not answer"))
	if told() != 1 || !n.log.says("the history does not answer") || !n.log.says("WARN") {
		t.Errorf("it is told %d times: %s", told(), n.log.text.String())
	}
	fails(1, nil)
	fails(20, errNoWord)
	if told() != 2 {
		t.Errorf("the next time it is told %d times", told()-1)
	}
	fails(1, nil)
	if len(p.failing) > 0 {
		t.Error("it is remembered for ever")
	}
}

// A node that ends and breaks off what it stores is no failure of the store: neither of a document that
// everybody left, nor of a life whose node died.
func TestANodeThatEndsSaysNothingAgainstItsStore(t *testing.T) {
	r, s := storing(t)
	r = r.unplanned()
	r.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter, c.SweepEvery = 2*time.Second, 2*time.Second, time.Second
	}
	a, b := r.node("a"), r.node("b")
	v := a.visit(t)
	v.types("one")
	s.Set(storagetest.Slow) // it never answers
	v.leave()
	eventually(t, "the store is asked as everybody has left", func() bool { return s.Happened(storagetest.Slow) > 0 })
	a.kill()
	before := s.Happened(storagetest.Slow)
	eventually(t, "it is asked for the dead node's life", func() bool { return s.Happened(storagetest.Slow) > before })
	b.kill()
	for name, n := range map[string]*node{"who left": a, "who pays": b} {
		if n.log.says("cannot be stored") {
			t.Errorf("%s says that its store fails", name)
		}
	}
}

// A life that cannot be stored for its own sake is no sign that the store is away.
func TestALifeThatIsStuckKeepsNoOtherFromItsStore(t *testing.T) {
	r, s := storing(t)
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("lost")); err != nil {
		t.Fatal(err)
	}
	n := r.node("a")
	v := n.visit(t)
	setBack(s, nil)
	v.types("more")
	l := life{todo, v.d.Room().Epoch()}
	v.leave()
	n.settle(t)
	n.purges.at(l, time.Now())
	eventually(t, "an operator is told", func() bool { return n.log.says("until an operator has looked") })
	n.payments.mu.Lock()
	defer n.payments.mu.Unlock()
	if b := n.payments.storeLocked(license); b.wait != 0 {
		t.Errorf("other lives wait for %s", b.wait)
	}
	if _, owed := n.payments.since[l]; !owed {
		t.Error("it is not owed any more")
	}
}

// While the store is away, lives that are owed rest, but for the renewals of their pins; and
// what nobody has looked at yet is looked at.
func TestWhatIsOwedRestsBetweenTheRenewalsOfItsPin(t *testing.T) {
	var p payments
	p.init(nil)
	l, now := life{todo, "s-1"}, time.Now()
	*p.storeLocked(license) = backoff{until: now.Add(2 * renewOwed), wait: payMost}
	if wait := p.rest(l, now); wait > 0 {
		t.Errorf("it is looked at in %s, and its pin was never renewed", wait)
	}
	p.hasRenewed(l)
	if wait := p.rest(l, now); wait != 2*renewOwed {
		t.Errorf("it rests for %s, expected %s", wait, 2*renewOwed)
	}
	if wait := p.rest(l, now.Add(renewOwed+time.Minute)); wait > 0 {
		t.Errorf("it rests for %s more, and its pin expires", wait)
	}
}
