package room

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// hooked does something, once, while a history is read.
type hooked struct {
	History
	mu   sync.Mutex
	hook func()
}

func (h *hooked) set(hook func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

func (h *hooked) LoadFrom(ctx context.Context, subject string, from uint64, each func(uint64, []byte) error) (uint64, error) {
	last, err := h.History.LoadFrom(ctx, subject, from, each)
	h.mu.Lock()
	hook := h.hook
	h.hook = nil
	h.mu.Unlock()
	if hook != nil {
		hook()
	}
	return last, err
}

// hooks is a room whose clients are told what the store has, a member of it that waits for
// that, and its pod.
func hooks(t *testing.T) (p *pod, r *Room, h *hooked, m *member, seat *Seat) {
	h = new(hooked)
	p = newKeepingPod(t, natstest.Server(t).URL, ackStored, func(c *Config) { h.History, c.History = c.History, h })
	var changed atomic.Int64
	r = p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat = join(t, r)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	m.askedOnce(t, seat, "saved?")
	eventually(t, "it waits for the store", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.asks.awaited })
	return p, r, h, m, seat
}

// lose has the room's history be lost, which the room is told.
func lose(t *testing.T, p *pod, r *Room) {
	t.Helper()
	if err := p.kept.Drop(t.Context(), r.at.now().updates); err != nil {
		t.Fatal(err)
	}
	r.rooms.Emptied(t.Context(), r.rooms.cfg.History.Shard(doc.PinKey()))
}

// append appends a message of a pod that nobody knows.
func (p *pod) append(t *testing.T, kind oplog.Kind, body []byte) (seq uint64) {
	t.Helper()
	subject := doc.UpdatesSubject(0, storedEpoch)
	last, err := p.kept.Last(t.Context(), subject)
	if err == nil {
		seq, err = p.kept.AppendAfter(t.Context(), subject, oplog.Kept.Append(nil, 99, kind, last+1, body), last, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// Rule 15: where no store keeps the life, nobody is told that it has what he typed: not in a
// room that came to a stored life without being kept, nor in one that is kept and came to a life
// that is not stored.
func TestNobodyIsToldThatALifeIsStoredThatNoStoreKeeps(t *testing.T) {
	url := natstest.Server(t).URL
	var changed atomic.Int64
	for name, c := range map[string]struct {
		open func() *Room
		to   string
	}{
		"a room that is not kept": {func() *Room { return newKeepingPod(t, url, ackStored).open(t, "e1") }, docid.NewStoredEpoch("e2")},
		"a life that is not stored": {func() *Room {
			return newKeepingPod(t, url, ackStored).mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
		}, "e3"},
	} {
		r := c.open()
		if err := r.Rebase(t.Context(), c.to); err != nil {
			t.Fatal(err)
		}
		m, seat := join(t, r)
		apply(t, seat, (&writer{client: 7}).insert("one"))
		m.askedOnce(t, seat, "saved?")
		seat.Acknowledge()
		if _, _, err := r.Draft(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Reached(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.answers(); got != "" || m.acknowledged() != 0 {
			t.Errorf("%s: answers %q, %d acknowledgements", name, got, m.acknowledged())
		}
		r.mu.Lock()
		if len(r.asks.unstored) != 0 || r.asks.awaited {
			t.Errorf("%s: the store is awaited", name)
		}
		r.mu.Unlock()
	}
}

// Rule 15: a history that is not there any more does not say that the store has everything.
func TestALostHistorySaysOfNothingThatItIsStored(t *testing.T) {
	p, r, _, m, _ := hooks(t)
	if err := p.kept.Drop(t.Context(), r.at.now().updates); err != nil {
		t.Fatal(err)
	}
	if clean, err := r.Clean(t.Context()); err != nil || clean {
		t.Errorf("its life is clean: %t, %v", clean, err)
	}
	if err := r.Reached(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Draft(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.answers(); got != "" {
		t.Errorf("answers %q", got)
	}
}

// What was read of a history that was lost meanwhile says nothing of the one that takes its
// place: nobody is told by it, and nothing is stored, merged or marked by it.
func TestWhatWasReadOfALostHistoryDoesNotCountInTheNext(t *testing.T) {
	t.Run("of what the store has", func(t *testing.T) {
		p, r, h, m, _ := hooks(t)
		found, _ := p.loaded(t)
		p.append(t, oplog.Stored, oplog.AppendMark(nil, oplog.Mark{UpTo: found.Last, Base: oplog.Base{Store: "S", Version: "v1"}}))
		h.set(func() { lose(t, p, r) })
		if err := r.Reached(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.answers(); got != "" {
			t.Errorf("answers %q", got)
		}
	})
	t.Run("of a draft", func(t *testing.T) {
		p, r, h, m, _ := hooks(t)
		d := draft(t, r)
		h.set(func() { lose(t, p, r) })
		if _, clean, err := r.Draft(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("a draft is made of it: clean %t, %v", clean, err)
		}
		if _, err := r.Merge(d, oplog.Base{Store: "S", Version: "v7"}, (&writer{client: 2}).insert("theirs")); !errors.Is(err, errLost) {
			t.Errorf("it is merged: %v", err)
		}
		if err := r.Stored(t.Context(), d, "v8"); !errors.Is(err, errLost) {
			t.Errorf("it is called stored: %v", err)
		}
		if found, _ := p.loaded(t); found.Stored != 0 {
			t.Errorf("the history says that it is: %+v", found)
		}
		if got := m.answers(); got != "" || r.Base().Version != "" {
			t.Errorf("answers %q, on %+v", got, r.Base())
		}
	})
}

// A mark may be acknowledged by a history that is lost before the room hears of it.
func TestAMarkInALostHistorySaysNothing(t *testing.T) {
	h, p, r, m, seat := withholds(t, ackStored)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	m.askedOnce(t, seat, "saved?")
	if err := r.acknowledged(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := draft(t, r)
	h.set(true, false)
	done := make(chan error, 1)
	go func() { done <- r.Stored(t.Context(), d, "v1") }()
	eventually(t, "the mark is on its way", func() bool { held, _, _ := h.count(); return held > 0 })
	lose(t, p, r)
	h.set(false, false)
	h.release(-1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := m.answers(); got != "" || r.Base().Version != "" || !r.Changed() {
		t.Errorf("answers %q, on %+v, changed %t", got, r.Base(), r.Changed())
	}
}

// Up to which number everything stood in a history that was lost, the next one does not say,
// although its sequences go on where those of the former ended.
func TestANumberOfALostHistoryIsNotReachedInTheNext(t *testing.T) {
	h, p, r, m, seat := withholds(t, ackStored)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	m.askedOnce(t, seat, "saved?")
	eventually(t, "it waits for the store", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.asks.awaited })
	if err := r.Reached(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.set(true, false) // what the room appends to the next is not acknowledged
	lose(t, p, r)
	if err := p.kept.Drop(t.Context(), r.at.now().updates); err != nil { // and perhaps not there
		t.Fatal(err)
	}
	base := oplog.Base{Store: "S", Version: "v1"}
	stands := p.append(t, oplog.Seed, oplog.AppendBase(nil, base))
	p.append(t, oplog.Stored, oplog.AppendMark(nil, oplog.Mark{UpTo: stands, Base: base}))
	p.append(t, oplog.Updates, (&writer{client: 8}).insert("another's"))
	if err := r.Reached(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.answers(); got != "" {
		t.Errorf("answers %q", got)
	}
	h.set(false, false)
	h.release(-1)
}

// What a room brings along to another life is not what the store has of that.
func TestWhatARoomBringsAlongIsNotStoredInTheNextLife(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL, ackStored)
	p.append(t, oplog.Updates, (&writer{client: 8}).insert("owed"))
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, &changed)
	m, seat := join(t, r)
	m.askedOnce(t, seat, "saved?")
	eventually(t, "it waits for the store", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.asks.awaited })
	if err := r.Rebase(t.Context(), docid.NewStoredEpoch("e2")); err != nil {
		t.Fatal(err)
	}
	seat.Ask([]byte("and now?"))
	durable(t, r)
	if got := m.answers(); got != "" {
		t.Errorf("answers %q before anybody has stored", got)
	}
	store(t, r, "v1")
	eventually(t, "it is told", func() bool { return m.answers() == "saved? and now?" })
}

// Rule 2: who gives up waiting until the history has what a body holds does not say there that
// it is stored.
func TestNothingIsCalledStoredWhereTheHistoryDoesNotAnswer(t *testing.T) {
	h, p, r, _, seat := withholds(t)
	h.set(true, false)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	d := draft(t, r)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stored(over, d, "v1"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, expected %v", err, context.Canceled)
	}
	h.set(false, false)
	h.release(-1)
	durable(t, r)
	if found, _ := p.loaded(t); found.Stored != 0 || !r.Changed() {
		t.Errorf("it is called stored: %+v, changed %t", found, r.Changed())
	}
}
