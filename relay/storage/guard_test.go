package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// switched is a store that can be exchanged for another one behind the guard's back.
type switched struct{ *storagetest.Faulty }

func marked(t *testing.T, id string) *storagetest.Memory {
	t.Helper()
	s := storagetest.NewMemory()
	if err := storage.Init(t.Context(), s, storage.Identity{ID: id, License: storagetest.License, KeyFormat: storage.KeyFormat}); err != nil {
		t.Fatal(err)
	}
	return s
}

func guarded(t *testing.T, s storage.Store, id string) (*storage.Guard, *switched) {
	t.Helper()
	under := &switched{&storagetest.Faulty{Store: s}}
	g := storage.NewGuard(storage.GuardConfig{Store: under, License: storagetest.License, Timeout: 30 * time.Second})
	g.Expect(id)
	return g, under
}

func TestAGuardedStoreKeepsTheContract(t *testing.T) {
	g, under := guarded(t, marked(t, "A"), "A")
	h := &storagetest.Harness{Store: g, Other: under.Store}
	for _, c := range storagetest.Cases() {
		if c.Name == "the marker says whose store this is" {
			continue // begins with a store that has none
		}
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Holds(t.Context(), h); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAbsentIsBelievedOnlyInTheRightStore(t *testing.T) {
	doc := documentNamed("todo")
	for name, c := range map[string]struct {
		before, after storage.Store
		expected      error
	}{
		"another store from the start": {marked(t, "B"), nil, storage.ErrOtherStore},
		"no marker from the start":     {storagetest.NewMemory(), nil, storage.ErrUnmarked},
		"an empty store later":         {marked(t, "A"), storagetest.NewMemory(), storage.ErrUnmarked},
		"another store later":          {marked(t, "A"), marked(t, "B"), storage.ErrOtherStore},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				g, under := guarded(t, c.before, "A")
				if c.after != nil {
					if _, err := g.Load(ctx, doc, nil); !errors.Is(err, storage.ErrAbsent) {
						t.Fatalf("the right store: %v", err)
					}
					under.Store = c.after
					time.Sleep(time.Minute)
				}
				if _, err := g.Load(ctx, doc, nil); !errors.Is(err, c.expected) || !errors.Is(err, storage.ErrRefused) || errors.Is(err, storage.ErrAbsent) {
					t.Errorf("load: %v, expected %v", err, c.expected)
				}
				if _, err := g.Stat(ctx, doc); !errors.Is(err, c.expected) || errors.Is(err, storage.ErrAbsent) {
					t.Errorf("stat: %v, expected %v", err, c.expected)
				}
				if _, err := g.Save(ctx, doc, storage.Absent, storage.Meta{}, []byte("new")); !errors.Is(err, c.expected) {
					t.Errorf("create: %v, expected %v", err, c.expected)
				}
				if _, err := under.Stat(ctx, doc); !errors.Is(err, storage.ErrAbsent) {
					t.Errorf("something was written into the wrong store: %v", err)
				}
				if _, why := g.Down(); !errors.Is(why, c.expected) {
					t.Errorf("it counts as %v, expected %v", why, c.expected)
				}
			})
		})
	}
}

func TestAnUnknownStoreIsNotUsed(t *testing.T) {
	g, _ := guarded(t, marked(t, "A"), "")
	if _, err := g.Load(t.Context(), documentNamed("todo"), nil); !errors.Is(err, storage.ErrRefused) {
		t.Errorf("a store that no registry names was asked: %v", err)
	}
	if id, err := g.Look(t.Context()); err != nil || id.ID != "A" {
		t.Errorf("it is %+v, %v", id, err)
	}
	g.Expect("A")
	if _, err := g.Load(t.Context(), documentNamed("todo"), nil); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("a store that the registry names: %v", err)
	}
}

func TestAStoreThatIsDownIsNoticedOnceAndFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		under := &storagetest.Faulty{Store: marked(t, "A")}
		g := storage.NewGuard(storage.GuardConfig{
			Store: under, License: storagetest.License, Timeout: 30 * time.Second, Changed: func(err error) { told = append(told, err) },
		})
		g.Expect("A")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); g.Run(ctx) }()
		doc := documentNamed("todo")
		version, err := g.Save(ctx, doc, storage.Absent, storage.Meta{}, []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Refusal, storagetest.Slow} {
			told = nil
			under.Set(fault)
			began := time.Now()
			for range 2 {
				if _, err := g.Save(ctx, doc, version, storage.Meta{}, []byte("body")); err == nil {
					t.Errorf("%s: it saved", fault)
				}
			}
			if waited := time.Since(began); fault == storagetest.Slow && waited != time.Minute {
				t.Errorf("two calls that hang took %s", waited)
			}
			if _, why := g.Down(); why == nil || len(told) != 1 || told[0] == nil {
				t.Errorf("%s: down %v, told %v", fault, why, told)
			}
			under.Set(storagetest.None)
			time.Sleep(time.Minute)
			if _, why := g.Down(); why != nil || len(told) != 2 || told[1] != nil {
				t.Errorf("after %s: down %v, told %v", fault, why, told)
			}
		}
		before := under.Calls()
		time.Sleep(time.Hour)
		if after := under.Calls(); after != before {
			t.Errorf("an idle store was called %d times", after-before)
		}
		cancel()
		<-ended
	})
}

func TestWhatTheCallerGivesUpSaysNothingOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := &storagetest.Faulty{Store: marked(t, "A")}
		observed := 0
		g := storage.NewGuard(storage.GuardConfig{Store: under, License: storagetest.License, Timeout: time.Second,
			Observe: func(storage.Op, int, time.Duration, error) { observed++ }})
		g.Expect("A")
		doc := documentNamed("todo")
		if _, err := g.Save(t.Context(), doc, storage.Absent, storage.Meta{}, []byte("body")); err != nil {
			t.Fatal(err)
		}
		full := errors.New("no memory")
		if _, err := g.Load(t.Context(), doc, func(context.Context, int64) error { return full }); !errors.Is(err, full) {
			t.Errorf("load without memory: %v", err)
		}
		// Waiting for memory takes no time of the store's.
		if _, err := g.Load(t.Context(), doc, func(context.Context, int64) error { time.Sleep(time.Minute); return nil }); err != nil {
			t.Errorf("load after a long wait: %v", err)
		}
		under.Set(storagetest.Slow)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := g.Load(ctx, doc, nil); err == nil {
			t.Error("a store that hangs answered")
		}
		if _, why := g.Down(); why != nil {
			t.Errorf("it counts as down: %v", why)
		}
		if observed != 2 { // the save, and the load that waited
			t.Errorf("%d calls were observed", observed)
		}
	})
}

func documentNamed(name string) docid.Document {
	return docid.Document{License: storagetest.License, Tenant: "acme", App: "notes", Name: name}
}
