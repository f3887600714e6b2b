package live

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// meeting is a history and a store each of which answers once the other is asked as well.
type meeting struct {
	History
	storage.Store
	listing, loading chan struct{}
	missed           atomic.Bool
}

func (m *meeting) meets(other chan struct{}) {
	select {
	case <-other:
	case <-time.After(10 * time.Second):
		m.missed.Store(true)
	}
}

func (m *meeting) StoredSubjects(ctx context.Context, filter string) iter.Seq2[history.Subject, error] {
	if filter != "" {
		close(m.listing)
		m.meets(m.loading)
	}
	return m.History.StoredSubjects(ctx, filter)
}

func (m *meeting) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	close(m.loading)
	m.meets(m.listing)
	return m.Store.Load(ctx, d, reserve)
}

// Whoever opens a document waits for its store and for the list of its lives at once.
func TestAStoreIsAskedWhileTheHistoryIs(t *testing.T) {
	r, s := storing(t)
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("stored")); err != nil {
		t.Fatal(err)
	}
	m := &meeting{Store: s, listing: make(chan struct{}), loading: make(chan struct{})}
	r.store = m
	r.options = func(o *Options) { m.History, o.History = o.History, m }
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	v.reads("stored")
	if m.missed.Load() {
		t.Error("one was asked after the other")
	}
}

// A document that comes back while a marker of its former life is there is loaded once.
func TestADocumentThatComesBackIsLoadedOnce(t *testing.T) {
	r, s := storing(t)
	a := &asked{calls: map[docid.Document]map[string]int{}}
	s.Choose = a.count
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	v.leave()
	n.settle(t)
	n.free(t)
	before := a.of(todo)["load"]
	v = n.visit(t)
	defer v.leave()
	v.reads("one")
	if calls := a.of(todo); calls["load"] != before+1 {
		t.Errorf("the store was asked %v, with %d loads before", calls, before)
	}
}

// late is a store whose first answer is as old as an answer may be that was asked for before
// another node stored what a former life owed.
type late struct {
	storage.Store
	old   storage.Stored
	loads atomic.Int64
}

func (l *late) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	if l.loads.Add(1) == 1 {
		old := l.old
		old.Body = slices.Clone(old.Body)
		return old, reserve.Ask(ctx, old.Size)
	}
	return l.Store.Load(ctx, d, reserve)
}

// Rule 12: what was loaded before a former life was stored is not what the next one begins on.
func TestALifeDoesNotBeginOnWhatWasLoadedBeforeAFormerOneWasStored(t *testing.T) {
	r, s := storing(t)
	version, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("old"))
	if err != nil {
		t.Fatal(err)
	}
	l := &late{Store: s, old: stored(t, s.Store)}
	if version, err = s.Store.Save(t.Context(), todo, version, storage.Meta{}, insert("new")); err != nil {
		t.Fatal(err)
	}
	r.store = l
	n := r.node("a")
	for i, version := range []storage.Version{l.old.Version, version} { // of two lives the latter has ended last
		former := life{todo, docid.NewStoredEpoch("former" + string(rune('a'+i)))}
		mark := oplog.Mark{UpTo: 0, Ends: true, Base: oplog.Base{Store: r.storeID, Version: string(version)}}
		data := oplog.Kept.Append(nil, oplog.NoRoom, oplog.Stored, 0, oplog.AppendMark(nil, mark))
		if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(former), data, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	v := n.visit(t)
	defer v.leave()
	v.reads("new")
	if loads := l.loads.Load(); loads != 2 {
		t.Errorf("it was loaded %d times", loads)
	}
}

// The memory of what was loaded early is free again before a former life is stored, which
// needs as much.
func TestWhatIsLoadedEarlyIsGivenUpBeforeAFormerLifeIsStored(t *testing.T) {
	r, s := storing(t)
	body := insert("a body that takes all the memory there is")
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, body); err != nil {
		t.Fatal(err)
	}
	r.options = func(o *Options) { o.StoreBytes = int64(len(body)) }
	n := r.node("a")
	former := life{todo, docid.NewStoredEpoch("former")}
	base := oplog.Base{Store: r.storeID, Version: string(stored(t, s.Store).Version)}
	seed := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, base))
	if _, err := n.stored.AppendAfter(t.Context(), n.lives.subject(former), seed, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.leaves(t, former, "owed")
	v := n.visit(t)
	defer v.leave()
	v.reads("owed")
}

// A life that has a history does not wait for a store that hangs.
func TestALifeThatHasAHistoryDoesNotWaitForWhatIsLoadedEarly(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	l := n.owes(t, todo, r.storeID)
	s.Set(storagetest.Slow)
	defer s.Set(storagetest.None)
	k, err := n.keep(t.Context(), todo, l.epoch)
	if err != nil {
		t.Fatal(err)
	}
	defer k.stop()
	if begun, err := k.begun(t.Context()); !begun || err != nil {
		t.Errorf("it has begun: %v, %v", begun, err)
	}
	if k.early != nil || k.reserved != nil {
		t.Error("what was loaded is kept")
	}
}

func TestWhatAStoreSaysEarlyIsHeldAgainstWhatALifeKnows(t *testing.T) {
	of := func(b *oplog.Base) (found oplog.Loaded) {
		if b != nil {
			data := oplog.Kept.Append(nil, 7, oplog.Seed, 1, oplog.AppendBase(nil, *b))
			found, _ = oplog.Load(t.Context(), one{data}, "", func(oplog.Kind, []byte, bool) {}, func(error) {})
		}
		return found
	}
	for _, c := range []struct {
		early  early
		knows  *oplog.Base
		stands bool
	}{
		{early{stored: storage.Stored{Info: storage.Info{Version: "1"}}}, &oplog.Base{Version: "1"}, true},
		{early{stored: storage.Stored{Info: storage.Info{Version: "1"}}}, &oplog.Base{Version: "2"}, false},
		{early{stored: storage.Stored{Info: storage.Info{Version: "1"}}}, nil, false},
		{early{err: storage.ErrAbsent}, &oplog.Base{}, true},
		{early{err: storage.ErrAbsent}, &oplog.Base{Version: "1"}, false},
		{early{err: storage.ErrDeleted}, &oplog.Base{}, false},
		{early{err: errors.New("down")}, &oplog.Base{}, false},
	} {
		if got := c.early.isOf(of(c.knows)); got != c.stands {
			t.Errorf("%+v, of a life that knows %+v: %v", c.early, c.knows, got)
		}
	}
}

// one is a history of one message.
type one struct{ data []byte }

func (o one) LoadFrom(_ context.Context, _ string, _ uint64, each func(uint64, []byte) error) (uint64, error) {
	return 1, each(1, o.data)
}
