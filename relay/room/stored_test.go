package room

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

// ackStored has clients told only of what the store has.
func ackStored(c *Config) { c.AckStored = func(docid.AppID) bool { return true } }

// store is a store that always takes what it is given.
func store(t *testing.T, r *Room, version string) {
	t.Helper()
	d, clean, err := r.Draft(t.Context())
	if err == nil && !clean {
		err = r.Stored(t.Context(), d, version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *member) askedOnce(t *testing.T, seat *Seat, question string) {
	t.Helper()
	seat.Ask([]byte(question))
	durable(t, seat.room)
}

func TestWhereSavedMeansStoredTheHistoryIsNotEnough(t *testing.T) {
	var changed atomic.Int64
	r := newKeepingPod(t, natstest.Server(t).URL, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	other, otherSeat := join(t, r)
	seat.Ask([]byte("nothing"))
	if got := m.answers(); got != "nothing" {
		t.Fatalf("answers %q about a document that nobody has edited", got)
	}
	w := &writer{client: 7}
	apply(t, seat, w.insert("one"))
	m.askedOnce(t, seat, "one")
	otherSeat.Acknowledge()
	if got := m.answers() + other.answers(); got != "nothing" {
		t.Fatalf("answers %q before it is stored", got)
	}
	d, _, err := r.Draft(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, seat, w.insert("two")) // after the body was made
	m.askedOnce(t, seat, "two")
	if err := r.Stored(t.Context(), d, "v1"); err != nil {
		t.Fatal(err)
	}
	if got := m.answers(); got != "nothing one" || other.acknowledged() != 1 {
		t.Errorf("answers %q, %d acknowledgements, when the store has the first edit", got, other.acknowledged())
	}
	store(t, r, "v2")
	if got := m.answers(); got != "nothing one two" {
		t.Errorf("answers %q when the store has both", got)
	}
	seat.Ask([]byte("still")) // at once: nothing is new
	if got := m.answers(); got != "nothing one two still" {
		t.Errorf("answers %q", got)
	}
}

// Somebody always types, so that the history never says that all is stored.
func TestWhatTheRoomOfAnotherPodStoresIsToldHere(t *testing.T) {
	url := natstest.Server(t).URL
	var changed atomic.Int64
	a := newKeepingPod(t, url, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	b := newKeepingPod(t, url, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	typist, typing := join(t, a)
	m, seat := join(t, b)
	others, own := &writer{client: 7}, &writer{client: 8}
	apply(t, typing, others.insert("typed there"))
	eventually(t, "the rooms know each other", func() bool { return clockOf(t, m, 7) > 0 && a.Stat().Peers == 1 })
	apply(t, seat, own.insert("typed here"))
	seat.Ask([]byte("here"))
	eventually(t, "it waits for the store", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.asks.awaited })
	eventually(t, "the other room has it", func() bool { return clockOf(t, typist, 8) > 0 })
	reached := func() {
		t.Helper()
		if err := b.Reached(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reached() // notes how far the history is
	d, _, err := a.Draft(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, typing, others.insert("and more"))
	durable(t, a)
	reached()
	if got := m.answers(); got != "" {
		t.Fatalf("answers %q before anybody has stored", got)
	}
	if err := a.Stored(t.Context(), d, "v1"); err != nil {
		t.Fatal(err)
	}
	apply(t, seat, own.insert("later"))
	m.askedOnce(t, seat, "later")
	eventually(t, "what was stored is told", func() bool { reached(); return m.answers() == "here" })
	store(t, a, "v2")
	eventually(t, "the rest is told", func() bool { reached(); return m.answers() == "here later" })
}

func TestWithoutAStoreNothingCountsAsStored(t *testing.T) {
	url := natstest.Server(t).URL
	r := newPod(t, url, ackStored).open(t, "e1")
	m, seat := join(t, r)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	m.askedOnce(t, seat, "saved?")
	seat.Acknowledge()
	if got := m.answers(); got != "" || m.acknowledged() != 0 {
		t.Errorf("answers %q, %d acknowledgements", got, m.acknowledged())
	}
}

// A store that is away for hours must not make a room remember every visitor's question.
func TestWhatAMemberAskedIsForgottenWhenItLeaves(t *testing.T) {
	var changed atomic.Int64
	r := newKeepingPod(t, natstest.Server(t).URL, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	_, other := join(t, r)
	w := &writer{client: 7}
	for range 3 * maxAsks {
		apply(t, seat, w.insert("x"))
		seat.Ask([]byte("saved?"))
		other.Acknowledge()
	}
	durable(t, r)
	eventually(t, "all wait for the store", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.asks.open) == 0 && len(r.asks.unstored) == 2*maxAsks
	})
	seat.Leave()
	other.Leave()
	r.mu.Lock()
	open, awaited := len(r.asks.open)+len(r.asks.unstored), r.asks.awaited
	r.mu.Unlock()
	if open != 0 || awaited {
		t.Errorf("%d questions are open, and the store is awaited: %t", open, awaited)
	}
	store(t, r, "v1")
	if got := m.answers(); got != "" {
		t.Errorf("who has left is answered %q", got)
	}
}

func TestABusyMemberIsAcknowledgedEachOfItsMessagesOnceTheyAreStored(t *testing.T) {
	var changed atomic.Int64
	r := newKeepingPod(t, natstest.Server(t).URL, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	w := &writer{client: 7}
	const messages = 3 * maxAsks
	for range messages {
		apply(t, seat, w.insert("x"))
		seat.Acknowledge()
	}
	durable(t, r)
	if n := m.acknowledged(); n != 0 {
		t.Fatalf("%d are acknowledged before anything is stored", n)
	}
	store(t, r, "v1")
	eventually(t, "all are acknowledged", func() bool { return m.acknowledged() == messages })
	seat.Greet()
	if got := strings.TrimSpace(m.answers()); got != "" {
		t.Errorf("answers %q to no question", got)
	}
}

// Rule 14: what is in the store is in the document, whatever the limits of its clients.
func TestWhatOthersHaveStoredIsTakenOverAllLimits(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL, func(c *Config) {
		c.Limits = ystore.Limits{MaxDeleteRanges: 10, MaxBytes: 400, MaxClients: 2}
	})
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, _ := join(t, r)
	theirs := (&writer{client: 2}).insert(strings.Repeat("x", 1000))
	if err := r.Take(oplog.Base{Store: "S", Version: "v1"}, theirs); err != nil {
		t.Fatal(err)
	}
	if got := clockOf(t, m, 2); got != 1000 {
		t.Errorf("the member has it up to %d", got)
	}
}

// Rule 15: a history that was clean before the store was set back says nothing of it since.
func TestNobodyIsToldThatAStoreHasWhatItHasLost(t *testing.T) {
	var changed atomic.Int64
	r := newKeepingPod(t, natstest.Server(t).URL, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	seat.Ask([]byte("one"))
	durable(t, r)
	d := draft(t, r)
	data := oplog.Kept.Append(nil, 99, oplog.Stored, 1, oplog.AppendMark(nil, oplog.Mark{UpTo: d.upTo, Base: oplog.Base{Store: "S", Version: "v1"}}))
	if _, err := r.rooms.cfg.History.AppendAfter(t.Context(), r.at.now().updates, data, d.upTo, 0); err != nil {
		t.Fatal(err)
	}
	r.Lost()
	if err := r.Reached(t.Context()); err != nil || m.answers() != "" {
		t.Errorf("answers %q: %v", m.answers(), err)
	}
	store(t, r, "v2")
	if got := m.answers(); got != "one" {
		t.Errorf("answers %q when it is stored again", got)
	}
}

// A store that was set back is written again by one of the rooms that find that out. The
// others, which hear only that it has stored, and not whether that was before, come with the
// same body: they find their own in the store.
func TestWhatAnotherRoomHasWrittenAgainIsStored(t *testing.T) {
	a, b, _ := keptByTwo(t)
	if err := a.Stored(t.Context(), draft(t, a), "v1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both have it", func() bool { return bytes.Contains(b.Export(), []byte("one")) })
	former := (&writer{client: 1}).insert("o")
	for _, r := range []*Room{a, b} {
		if err := r.Take(oplog.Base{Store: "S", Version: "v0"}, former); err != nil {
			t.Fatal(err)
		}
		if clean, err := r.Clean(t.Context()); err != nil || clean {
			t.Errorf("clean is %v, %v, although the store was set back", clean, err)
		}
	}
	r := b
	marks := func() uint64 { r.mu.Lock(); defer r.mu.Unlock(); return r.peers.heard[a.id].counter }
	heard, theirs := marks(), draft(t, a)
	if err := a.Stored(t.Context(), theirs, "v2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other room hears that it is stored", func() bool { return marks() > heard })
	if clean, err := b.Clean(t.Context()); err != nil || clean {
		t.Errorf("clean is %v, %v, although nobody knows when it was stored", clean, err)
	}
	own := draft(t, b)
	if !bytes.Equal(own.Body, theirs.Body) || own.Base.Version != "v0" {
		t.Errorf("it would store %q on %q, and the other stored %q", own.Body, own.Base.Version, theirs.Body)
	}
	if err := b.Stored(t.Context(), own, "v2"); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Room{"its": a, "the other": b} {
		eventually(t, name+" room is clean", func() bool { clean, err := r.Clean(t.Context()); return err == nil && clean })
	}
}
