package room

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// epoch is that of a stored life.
var storedEpoch = docid.NewStoredEpoch("e1")

// newKeepingPod is a pod whose documents are kept when their lives end.
func newKeepingPod(t testing.TB, url string, configure ...func(*Config)) *pod {
	t.Helper()
	var kept *history.History
	p := newPod(t, url, append([]func(*Config){func(c *Config) {
		b := c.Bus.(*bus.Bus)
		h, err := history.Open(t.Context(), b.Conn(), history.Config{Stored: true, Publisher: b})
		if err != nil {
			t.Fatal(err)
		}
		kept = h
		t.Cleanup(h.Close)
		c.History = history.Lives{Plain: c.History.(*history.History), Stored: h}
	}}, configure...)...)
	p.kept = kept
	return p
}

// keep opens the document on a store that holds what it brings.
func (p *pod) keep(t testing.TB, brings Brought, changed *atomic.Int64) (*Room, error) {
	t.Helper()
	r, err := p.Open(t.Context(), doc, storedEpoch, false, &Kept{
		Base: func(_ context.Context, found oplog.Loaded) (Brought, error) {
			b := brings
			if base, ok := found.Base(); ok {
				b.Base = base
			}
			if found.Whole() {
				b.Update = nil
			}
			return b, nil
		},
		Changed: func() { changed.Add(1) },
	})
	if err == nil {
		t.Cleanup(r.Close)
	}
	return r, err
}

func (p *pod) mustKeep(t testing.TB, brings Brought, changed *atomic.Int64) *Room {
	t.Helper()
	r, err := p.keep(t, brings, changed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// loaded is what the history holds.
func (p *pod) loaded(t testing.TB) (found oplog.Loaded, updates int) {
	t.Helper()
	found, err := oplog.Load(t.Context(), p.kept, doc.UpdatesSubject(0, storedEpoch), func(oplog.Kind, []byte, bool) { updates++ }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return found, updates
}

// counting counts the messages that are read of a history.
type counting struct {
	History
	read int
}

func (c *counting) LoadFrom(ctx context.Context, subject string, from uint64, each func(uint64, []byte) error) (uint64, error) {
	return c.History.LoadFrom(ctx, subject, from, func(seq uint64, data []byte) error {
		c.read++
		return each(seq, data)
	})
}

// A save reads what its history has got since the one before it, and the message at which
// that ended; the whole once the history is another one, or was purged.
func TestASaveReadsOnlyWhatIsNew(t *testing.T) {
	var changed atomic.Int64
	c := &counting{}
	p := newKeepingPod(t, natstest.Server(t).URL, func(cfg *Config) { c.History, cfg.History = cfg.History, c })
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	_, seat := join(t, r)
	w := &writer{client: 1}
	reads := func(what string, edits, expected int) {
		t.Helper()
		for range edits {
			apply(t, seat, w.insert("x"))
			durable(t, r)
		}
		c.read = 0
		store(t, r, what)
		if c.read != expected {
			t.Errorf("%s: a save reads %d messages, expected %d", what, c.read, expected)
		}
		found, err := oplog.Load(t.Context(), p.kept, r.at.now().updates, func(oplog.Kind, []byte, bool) {}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		if base, _ := found.Base(); base.Version != what || !found.Clean() {
			t.Errorf("%s: it stands on %+v, and is clean: %v", what, base, found.Clean())
		}
	}
	reads("seed and edits", 20, 21)
	reads("nothing but the last edit, the mark, and one more", 1, 3)
	reads("as many as are new", 3, 5)
	if err := r.backlog.compactOnce(t.Context()); err != nil { // it purges what was read
		t.Fatal(err)
	}
	reads("the snapshot and an edit", 1, 2)
	if err := p.kept.Drop(t.Context(), r.at.now().updates); err != nil {
		t.Fatal(err)
	}
	reads("the first of another history, and all of it", 2, 3)
	if err := r.Rebase(t.Context(), docid.NewStoredEpoch("e2")); err != nil {
		t.Fatal(err)
	}
	reads("of another life all", 0, 2)
}

func TestWhatLayBeforeTheHistoryIsThereBeforeAnybodyJoins(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	var changed atomic.Int64
	before := (&writer{client: 2}).insert("before")
	brings := Brought{Base: oplog.Base{Store: "S", Version: "v1"}, Update: before}
	first := p.mustKeep(t, brings, &changed)
	m, seat := join(t, first)
	if got := clockOf(t, m, 2); got != uint64(len("before")) {
		t.Errorf("a member knows %d of what lay before", got)
	}
	found, updates := p.loaded(t)
	if base, ok := found.Base(); !ok || base.Version != "v1" || !bytes.Equal(base.Covers, first.Stat().StateVector) || updates != 0 || changed.Load() != 0 {
		t.Errorf("an unedited document's history holds %d updates on %+v; it changed %d times", updates, base, changed.Load())
	}
	if clean, err := first.Clean(t.Context()); err != nil || !clean {
		t.Errorf("unedited, it is clean: %v, %v", clean, err)
	}
	apply(t, seat, (&writer{client: 1}).insert("history"))
	durable(t, first)
	if clean, err := first.Clean(t.Context()); err != nil || clean || changed.Load() != 1 {
		t.Errorf("edited, it is clean: %v, %v; it changed %d times", clean, err, changed.Load())
	}
	// The body follows with the first edit: who comes now needs no store.
	if found, _ := p.loaded(t); !found.Whole() {
		t.Error("the history does not hold the whole")
	}
	second := newKeepingPod(t, p.url).mustKeep(t, Brought{}, &changed)
	if m, _ := join(t, second); clockOf(t, m, 2) == 0 || clockOf(t, m, 1) == 0 {
		t.Error("the second room lacks something")
	}
	if changed.Load() != 2 {
		t.Error("the second room does not know that something is to be stored")
	}
}

// Rule 1: of those who open at the same moment one writes the seed, and a history without
// one is merged with what the store holds.
func TestAHistoryHasOneSeedWhoeverWritesIt(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	subject := doc.UpdatesSubject(0, storedEpoch)
	left := oplog.Kept.Append(nil, 9, oplog.Updates, 1, (&writer{client: 9}).insert("left"))
	if _, err := p.kept.AppendAfter(t.Context(), subject, left, 0, 0); err != nil {
		t.Fatal(err)
	}
	calls := 0
	r, err := p.Open(t.Context(), doc, storedEpoch, false, &Kept{
		Changed: func() {},
		Base: func(_ context.Context, found oplog.Loaded) (Brought, error) {
			if calls++; calls == 1 { // somebody appends between the reading and the seed
				other := oplog.Kept.Append(nil, 8, oplog.Updates, 1, (&writer{client: 8}).insert("other"))
				if _, err := p.kept.AppendAfter(t.Context(), subject, other, found.Last, 0); err != nil {
					t.Error(err)
				}
			}
			return Brought{Base: oplog.Base{Store: "S", Version: "v1"}, Update: (&writer{client: 2}).insert("before")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, _ := join(t, r)
	if clockOf(t, m, 9) == 0 || clockOf(t, m, 8) == 0 || clockOf(t, m, 2) == 0 {
		t.Error("what was left, what came between, or what lay before is missing")
	}
	found, _ := p.loaded(t)
	if _, _, early := found.BaseAt(2); early || calls != 2 {
		t.Errorf("the base was asked for %d times, and stands before what it was to follow: %v", calls, early)
	}
	if _, ok := found.Base(); !ok || found.Clean() {
		t.Error("there is no seed, or what was left counts as stored")
	}
	if clean, err := r.Clean(t.Context()); err != nil || clean {
		t.Errorf("its life ends before that is stored: clean is %v, %v", clean, err)
	}
}

func TestADocumentWhoseBaseIsNotToBeHadDoesNotOpen(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	away := errors.New("the store is away")
	for name, c := range map[string]struct {
		brings Brought
		err    error
	}{
		"away":      {err: away},
		"malformed": {brings: Brought{Update: []byte{1, 2, 3}}},
		"behind":    {brings: Brought{Base: oplog.Base{Covers: []byte{1, 7, 9}}, Update: (&writer{client: 7}).insert("x")}, err: ErrBehind},
	} {
		r, err := p.Open(t.Context(), doc, storedEpoch, true, &Kept{Changed: func() {}, Base: func(context.Context, oplog.Loaded) (Brought, error) {
			if name == "away" {
				return Brought{}, away
			}
			return c.brings, nil
		}})
		if err == nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if n := len(p.all()); n > 0 || p.bus.Stats().Subscriptions != 1 {
		t.Errorf("%d rooms and %d subscriptions are left, expected the pod's own", n, p.bus.Stats().Subscriptions)
	}
	if found, _ := p.loaded(t); found.Last != 0 {
		t.Error("something was written about a document that did not open")
	}
}

func draft(t *testing.T, r *Room) Draft {
	t.Helper()
	d, clean, err := r.Draft(t.Context())
	if err != nil || clean {
		t.Fatalf("clean %v, %v", clean, err)
	}
	return d
}

// keptByTwo is a life that is kept in two rooms. A user of the first has typed "one", which is
// in the history.
func keptByTwo(t *testing.T) (a, b *Room, seat *Seat) {
	t.Helper()
	url := natstest.Server(t).URL
	p, q := newKeepingPod(t, url), newKeepingPod(t, url)
	var changed atomic.Int64
	a = p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	b = q.mustKeep(t, Brought{}, &changed)
	_, seat = join(t, a)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	durable(t, a)
	return a, b, seat
}

// Rules 2 and 3: what a save expects, and when a life is clean.
func TestASaveExpectsTheVersionOfTheReadingThatMadeItsBody(t *testing.T) {
	a, b, seat := keptByTwo(t)
	// Where a does not get to answer for long, b appends a snapshot: now, not behind the drafts.
	eventually(t, "the other pod has it", func() bool { return bytes.Contains(b.Export(), []byte("one")) })
	if err := b.acknowledged(t.Context()); err != nil {
		t.Fatal(err)
	}
	mine := draft(t, a)
	theirs := draft(t, b)
	if err := b.Stored(t.Context(), theirs, "v1"); err != nil {
		t.Fatal(err)
	}
	if mine.Base.Version != "" {
		t.Errorf("the draft expects %q, which it was not read with", mine.Base.Version)
	}
	if clean, err := a.Clean(t.Context()); err != nil || !clean {
		t.Errorf("clean is %v, %v, although another pod has stored it", clean, err)
	}
	if _, clean, err := a.Draft(t.Context()); err != nil || !clean || a.Base().Version != "v1" {
		t.Errorf("clean is %v, %v, on %+v", clean, err, a.Base())
	}
	apply(t, seat, (&writer{client: 3}).insert("two"))
	durable(t, a)
	if d := draft(t, a); d.Base.Version != "v1" || d.upTo != theirs.upTo+2 {
		t.Errorf("the next draft expects %q and goes up to %d", d.Base.Version, d.upTo)
	}
}

// Rule 3: what came between the reading that a save was made of and the word that it is
// stored is not stored, although that word stands last.
func TestAnEditBetweenASaveAndItsMarkIsToBeStored(t *testing.T) {
	var changed atomic.Int64
	r := newKeepingPod(t, natstest.Server(t).URL).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	_, seat := join(t, r)
	w := &writer{client: 1}
	apply(t, seat, w.insert("one"))
	durable(t, r)
	d := draft(t, r)
	apply(t, seat, w.insert("two"))
	durable(t, r)
	if err := r.Stored(t.Context(), d, "v1"); err != nil {
		t.Fatal(err)
	}
	if clean, err := r.Clean(t.Context()); err != nil || clean {
		t.Errorf("clean is %v, %v, although an edit is not stored", clean, err)
	}
	if !r.Changed() {
		t.Error("nobody is to store it")
	}
	store(t, r, "v2")
	if clean, err := r.Clean(t.Context()); err != nil || !clean {
		t.Errorf("clean is %v, %v when it is stored", clean, err)
	}
}

// Rule 2: a version that stands above a message of which parts are to come may hold that
// message, which a body made now does not.
func TestASaveDoesNotExpectAVersionAboveAnUnfinishedMessage(t *testing.T) {
	var changed atomic.Int64
	p := newKeepingPod(t, natstest.Server(t).URL)
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S", Version: "v1"}}, &changed)
	_, seat := join(t, r)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	durable(t, r)
	found, _ := p.loaded(t)
	whole := found.Last
	subject := doc.UpdatesSubject(0, storedEpoch)
	for _, message := range [][]byte{
		oplog.Kept.AppendPart(nil, 99, 1, oplog.Part{First: 1, Count: 2, Kind: oplog.Updates}, []byte("half")),
		oplog.Kept.Append(nil, 98, oplog.Stored, 1, oplog.AppendMark(nil, oplog.Mark{UpTo: whole, Base: oplog.Base{Store: "S", Version: "v2"}})),
	} {
		last, err := p.kept.Last(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.kept.AppendAfter(t.Context(), subject, message, last, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second goes on where the first ended
		if d := draft(t, r); d.Base.Version != "v1" || d.upTo != whole {
			t.Errorf("the draft expects %q and goes up to %d, expected v1 and %d", d.Base.Version, d.upTo, whole)
		}
	}
}

// What a body holds is in the history before anybody may take its version for one whose
// body he has.
func TestNothingIsCalledStoredBeforeTheHistoryHasIt(t *testing.T) {
	h, p, r, _, seat := withholds(t)
	h.set(true, false)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	eventually(t, "the edit is on its way", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.open) == 1 })
	d := draft(t, r)
	done := make(chan error, 1)
	go func() { done <- r.Stored(t.Context(), d, "v1") }()
	eventually(t, "it waits for the history", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.asks.open) == 1 })
	if found, _ := p.loaded(t); found.Stored != 0 {
		t.Error("it is called stored")
	}
	h.set(false, false)
	h.release(-1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if clean, err := r.Clean(t.Context()); err != nil || !clean {
		t.Errorf("clean is %v, %v", clean, err)
	}
}

func TestWhatTheStoreHoldsBesidesReachesMembersAndHistory(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	durable(t, r)
	d, err := r.Merge(draft(t, r), oplog.Base{Store: "S", Version: "v7"}, (&writer{client: 2}).insert("theirs"))
	if err != nil || d.Base.Version != "v7" || !bytes.Contains(d.Body, []byte("theirs")) || !bytes.Contains(d.Body, []byte("one")) {
		t.Fatalf("%q on %+v: %v", d.Body, d.Base, err)
	}
	if clockOf(t, m, 2) == 0 {
		t.Error("the member was not told")
	}
	if err := r.Stored(t.Context(), d, "v8"); err != nil {
		t.Fatal(err)
	}
	if found, updates := p.loaded(t); updates != 2 || found.Changed <= found.Stored-1 {
		t.Errorf("the history holds %d updates: %+v", updates, found)
	}
}

// Rule 4: an edit that waits for others changes neither what is known nor the deletions.
func TestAnEditBehindAGapIsToBeStored(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	_, seat := join(t, r)
	w := &writer{client: 1}
	w.insert("lost")
	before := r.Stat().StateVector
	if _, err := seat.Answer(w.insert("behind")); err != nil {
		t.Fatal(err)
	}
	durable(t, r)
	if got := r.Stat().StateVector; !bytes.Equal(got, before) {
		t.Fatal("the edit is not behind a gap")
	}
	if d := draft(t, r); !bytes.Contains(d.Body, []byte("behind")) {
		t.Error("the edit is not stored")
	}
}

// Rule 4: nor does the history show what it has refused, or has yet to acknowledge.
func TestWhatTheHistoryHasNotAcknowledgedIsToBeStored(t *testing.T) {
	h, _, r, _, seat := withholds(t)
	h.set(false, true)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	eventually(t, "it is refused", func() bool { _, _, refused := h.count(); return refused > 0 })
	if clean, err := r.Clean(t.Context()); err != nil || clean {
		t.Errorf("clean is %v: %v", clean, err)
	}
	if d := draft(t, r); !bytes.Contains(d.Body, []byte("one")) {
		t.Error("the edit is not stored")
	}
}

// Rule 1: compaction never removes the base.
func TestCompactionKeepsTheBase(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S", Generation: 5, Version: "v1", KeepDeleted: true}}, &changed)
	_, seat := join(t, r)
	apply(t, seat, (&writer{client: 1}).insert("one"))
	durable(t, r) // by the snapshot that brings the body, perhaps, while the edit itself is on its way
	eventually(t, "nothing is on its way", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.log.water.flights) == 0
	})
	if err := r.backlog.compactOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, updates := p.loaded(t)
	if base, ok := found.Base(); !ok || updates != 1 || base.Generation != 5 || base.Version != "v1" || !base.KeepDeleted || !found.Whole() {
		t.Errorf("after a compaction: %d updates on %+v", updates, base)
	}
}
