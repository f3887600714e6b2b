package live

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/relay/wire"
)

// asking is a member that asks whether its edits are saved.
type asking struct {
	client
	told func(answer string)
}

func (a *asking) SendAnswers(payloads [][]byte, _ *wire.Message) bool {
	for _, p := range payloads {
		a.told(string(p))
	}
	return true
}

// answers are what a member was told, and what the store held at that moment.
type answers struct {
	mu    sync.Mutex
	store storage.Store
	t     *testing.T
	all   []string
	held  []byte
}

func (a *answers) tell(answer string) {
	held := stored(a.t, a.store).Body
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all, a.held = append(a.all, answer), held
}

func (a *answers) has(answer string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.all, answer)
}

func (n *node) asks(t *testing.T, s storage.Store) (*visit, *answers) {
	t.Helper()
	v, told := n.visit(t), &answers{store: s, t: t}
	v.seat.Leave()
	seat, err := v.d.Room().Join(&asking{told: told.tell}, 1)
	if err != nil {
		t.Fatal(err)
	}
	v.seat = seat
	return v, told
}

// savedIsStored is a region in which clients are told of what is stored. The interval is
// one that no test sees the end of.
func savedIsStored(t *testing.T) (region, *storagetest.Faulty) {
	r, s := storing(t)
	r.rooms = func(c *room.Config) { c.AckStored = func(docid.AppID) bool { return true } }
	r.options = func(o *Options) { o.StoreFirst, o.StoreInterval = time.Minute, time.Minute }
	return r, s
}

// What is asked for is stored at once, and while the store is away nobody is told.
func TestWhoeverAsksIsToldWhenTheStoreHasIt(t *testing.T) {
	r, s := savedIsStored(t)
	n := r.node("a")
	v, told := n.asks(t, s.Store)
	s.Set(storagetest.Down)
	v.types("one")
	v.seat.Ask([]byte("saved?"))
	eventually(t, "the store is tried again and again", func() bool { return s.Happened(storagetest.Down) >= 2 })
	if told.has("saved?") {
		t.Fatal("it was told while the store is away")
	}
	s.Set(storagetest.None)
	eventually(t, "it is told", func() bool { return told.has("saved?") })
	if !bytes.Contains(told.held, []byte("one")) {
		t.Errorf("it was told when the store held %q", told.held)
	}
	v.leave()
}

// Neither the node that stores nor the other one lets its clients wait for the interval.
func TestWhoeverAsksIsToldOnEachNode(t *testing.T) {
	r, s := savedIsStored(t)
	a, b := r.node("a"), r.node("b")
	one, toldOne := a.asks(t, s.Store)
	two, toldTwo := b.asks(t, s.Store)
	eventually(t, "the rooms know each other", func() bool { return !one.d.Room().Alone() && !two.d.Room().Alone() })
	one.types("one")
	two.types("two")
	one.seat.Ask([]byte("first"))
	two.seat.Ask([]byte("second"))
	eventually(t, "both are told", func() bool { return toldOne.has("first") && toldTwo.has("second") })
	if !bytes.Contains(toldOne.held, []byte("one")) || !bytes.Contains(toldTwo.held, []byte("two")) {
		t.Errorf("they were told when the store held %q and %q", toldOne.held, toldTwo.held)
	}
	one.leave()
	two.leave()
}

// A question brings a store forward, within bounds: a client that asks without pause does
// not have the document stored without pause.
func TestAQuestionBringsAStoreForwardWithinBounds(t *testing.T) {
	ds := New(t.Context(), t.Context(), Options{})
	now := time.Now()
	for name, c := range map[string]struct {
		keeper *keeper
		after  time.Duration // now
	}{
		"a quiet document":                   {&keeper{}, 5 * time.Second},
		"a quiet document, asked for":        {&keeper{awaited: true}, time.Second},
		"one that was just stored":           {&keeper{last: now}, time.Minute},
		"one that was just stored, asked":    {&keeper{last: now, awaited: true}, 5 * time.Second},
		"stored long ago, asked":             {&keeper{last: now.Add(-time.Hour), awaited: true}, time.Second},
		"one that took long to store, asked": {&keeper{last: now, took: 2 * time.Second, awaited: true}, 40 * time.Second},
	} {
		if at := ds.saves.when(c.keeper).Sub(now).Round(time.Second); at != c.after {
			t.Errorf("%s is stored after %v, expected %v", name, at, c.after)
		}
	}
}

// What fails keeps its own pace, and another node's time to store begins anew when it did.
func TestAQuestionDoesNotHurryWhatFails(t *testing.T) {
	ds := New(t.Context(), t.Context(), Options{})
	s := &ds.saves
	k := &keeper{fails: 3}
	later := time.Now().Add(time.Hour)
	s.due[k] = later
	s.awaits(k, true)
	if !s.due[k].Equal(later) {
		t.Errorf("it is tried at %v instead of %v", s.due[k], later)
	}
	k.fails, k.until = 0, later
	s.awaits(k, false)
	s.awaits(k, true)
	if s.due[k].Equal(later) || !k.until.Before(later) {
		t.Errorf("it is stored at %v, by this node itself at %v", s.due[k], k.until)
	}
	s.marked(k)
	if s.wait(k) {
		t.Error("the other node has no time although it has just stored")
	}
}

// A document that others left unstored, and whose opening takes longer than it may rest, or
// fails: a node once tried to store what was not there yet, and ended.
func TestWhatIsBeingOpenedIsNotStored(t *testing.T) {
	r, _ := storing(t)
	r.options = func(o *Options) { o.StoreFirst, o.StoreInterval = time.Hour, time.Hour }
	n := r.node("a")
	v := n.visit(t)
	s := &n.saves
	k := &keeper{ds: n.Documents}
	planned := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, planned := s.due[k]
		delete(s.due, k)
		return planned
	}
	s.changed(k)
	if planned() {
		t.Error("it is to be stored before it is open")
	}
	s.opened(k, v.d.room)
	if !planned() {
		t.Error("what it found is not to be stored")
	}
	v.leave()
}
