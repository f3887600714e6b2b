package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/natstest"
)

// histories are the node's: with a store, those of stored lives, too.
func (r region) histories(n *node, nc *nats.Conn, plain *history.History) interface {
	room.History
	History
} {
	if r.store == nil {
		return plain
	}
	h, err := history.Open(r.t.Context(), nc, history.Config{Publisher: n.bus, Stored: true})
	if err != nil {
		r.t.Fatal(err)
	}
	n.stored = h
	return history.Lives{Plain: plain, Stored: h}
}

func (r region) pinned(n *node, c *kvpin.Config) {
	if r.store != nil {
		c.Store = func(docid.LicenseRegion) string { return r.storeID }
		c.Covered = func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
			return n.Covered(ctx, doc, epoch)
		}
		c.Unpinned = func(doc docid.Document, pin kvpin.Pin) {
			if n.started.Load() {
				n.Unpinned(doc, pin)
			}
		}
		c.Alive = func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
			return n.Alive(ctx, doc, epoch)
		}
	}
	if r.pins != nil {
		r.pins(c)
	}
}

func (r region) stores(o *Options) {
	if r.store == nil {
		return
	}
	o.Store = func(docid.LicenseRegion) (storage.Store, string) { return r.store, r.storeID }
	o.StoreFirst, o.StoreInterval = 20*time.Millisecond, 50*time.Millisecond
}

// storing is a region with a store that a test makes fail.
func storing(t testing.TB) (region, *storagetest.Faulty) {
	t.Helper()
	memory := storagetest.NewMemory()
	id := storage.Identity{ID: storage.NewStoreID(), License: license, KeyFormat: storage.KeyFormat}
	if err := storage.Init(t.Context(), memory, id); err != nil {
		t.Fatal(err)
	}
	faulty := &storagetest.Faulty{Store: memory}
	return region{t: t, url: natstest.Server(t).URL, store: faulty, storeID: id.ID}, faulty
}

// client is a member that takes nothing but what it is asked for.
type client struct{}

func (client) Send(*wire.Message) bool                        { return true }
func (client) SendAnswers([][]byte, *wire.Message) bool       { return true }
func (client) Await()                                         {}
func (client) SendAwareness(*wire.Message, []awareness.Entry) {}
func (client) Close(int, string)                              {}
func (client) Fail(error)                                     {}
func (client) Ping()                                          {}
func (client) Silent() time.Duration                          { return 0 }

var clients atomic.Uint64

// insert is an update of a new Yjs client that writes text at the root text "t".
func insert(text string) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, clients.Add(1))
	u = append(u, 0, 4, 1, 1, 't', byte(len(text)))
	return append(append(u, text...), 0)
}

// visit is a user who has a document open.
type visit struct {
	t    *testing.T
	n    *node
	d    *Document
	seat *room.Seat
}

// visit tries again while the registry does not answer, as a client does: a machine with
// much to do may take longer than a node gives it.
func (n *node) visit(t *testing.T) (v *visit) {
	t.Helper()
	eventually(t, "a user comes in", func() bool {
		var err error
		v, err = n.tryVisit(t)
		if err != nil && !errors.Is(err, kvpin.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return v
}

func (n *node) tryVisit(t *testing.T) (*visit, error) { return n.tryVisitOf(t, todo) }

func (n *node) tryVisitOf(t *testing.T, doc docid.Document) (*visit, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := n.Enter(ctx, doc)
	if err != nil {
		return nil, err
	}
	v := &visit{t: t, n: n, d: d}
	v.seat, err = d.Room().Join(client{}, 1)
	return v, err
}

// obeys has the visit end when its session is ended, or the test is.
func (v *visit) obeys() {
	v.n.mu.Lock()
	defer v.n.mu.Unlock()
	v.n.visits[v] = struct{}{}
	v.t.Cleanup(func() {
		v.n.mu.Lock()
		_, there := v.n.visits[v]
		delete(v.n.visits, v)
		v.n.mu.Unlock()
		if there {
			v.leave()
		}
	})
}

// dismiss ends the sessions of a room.
func (n *node) dismiss(r *room.Room, why error) {
	n.dismissed.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reasons[r.Document()] = why
	for v := range n.visits {
		if v.d.Name() == r.Document() {
			delete(n.visits, v)
			go v.leave()
		}
	}
}

// reason is why the sessions of a document were ended.
func (n *node) reason(doc docid.Document) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reasons[doc]
}

// types has the text acknowledged by the history.
func (v *visit) types(text string) {
	v.t.Helper()
	if _, err := v.seat.Apply(insert(text)); err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), 30*time.Second)
	defer cancel()
	if err := v.d.Room().Durable(ctx); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visit) leave() {
	v.seat.Leave()
	v.n.Leave(v.d)
}

func (v *visit) reads(text string) {
	v.t.Helper()
	if !bytes.Contains(v.d.Room().Export(), []byte(text)) {
		v.t.Errorf("%q is missing in %q", text, v.d.Room().Export())
	}
}

func (n *node) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.AwaitEmpty(ctx); err != nil {
		t.Fatal(err)
	}
}

// state looks the document up, again while the registry does not answer.
func (n *node) state(t *testing.T) (pin kvpin.Pin, state kvpin.State) {
	t.Helper()
	eventually(t, "the registry answers", func() bool {
		var err error
		pin, state, err = n.registry.Lookup(t.Context(), todo)
		if err != nil && !errors.Is(err, kvpin.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return pin, state
}

func stored(t *testing.T, s storage.Store) storage.Stored {
	t.Helper()
	got, err := s.Load(t.Context(), todo, nil)
	if err != nil && !errors.Is(err, storage.ErrAbsent) {
		t.Fatal(err)
	}
	return got
}

// free waits until the document has no pin, and nothing but a marker of it is left.
func (n *node) free(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is left but a marker", func() bool {
		if _, state := n.state(t); state != kvpin.Free {
			return false
		}
		for subject, err := range n.stored.Subjects(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			doc, epoch, err := docid.ParseUpdatesSubject(subject.Name)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := n.lives.found(t.Context(), life{doc, epoch}); err != nil || !found.Ended || subject.Messages != 1 {
				return false
			}
		}
		return true
	})
}

func TestADocumentComesBackAfterEverybodyLeft(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	v.leave()
	n.settle(t)
	n.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) || got.Generation != 0 || got.Region != "eu-central-1" {
		t.Fatalf("the store holds %q, %+v", got.Body, got.Info)
	}
	other := r
	other.name = "us-east-1"
	v = other.node("b").visit(t)
	v.reads("one")
	v.types("two")
	v.leave()
	v.n.settle(t)
	v.n.free(t)
	if got := stored(t, s.Store); !bytes.Contains(got.Body, []byte("one")) || !bytes.Contains(got.Body, []byte("two")) {
		t.Errorf("the store holds %q", got.Body)
	}
}

func TestADocumentIsStoredWhileItIsEdited(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	defer v.leave()
	for i := range 3 {
		text := fmt.Sprint("edit ", i)
		v.types(text)
		eventually(t, text+" is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte(text)) })
	}
	eventually(t, "it is known to be stored", func() bool { k := n.saves.kept(v.d.keeper); return k.Clean && !k.At.IsZero() })
}

// What nobody edits is neither stored nor written about.
func TestADocumentThatIsOnlyReadIsNotStored(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.leave()
	n.settle(t)
	n.free(t)
	if _, err := s.Store.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("it was stored: %v", err)
	}
}

// A failed load fails its joiners and leaves nothing, least of all an empty document.
func TestADocumentThatCannotBeLoadedDoesNotOpen(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Failing, storagetest.Refusal, storagetest.Truncated, storagetest.LostReply} {
		t.Run(string(fault), func(t *testing.T) {
			r, s := storing(t)
			if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("one")); err != nil {
				t.Fatal(err)
			}
			n := r.node("a")
			s.Set(fault)
			if v, err := n.tryVisit(t); err == nil {
				t.Fatalf("it opened with %q", v.d.Room().Export())
			}
			if n.Len() != 0 {
				t.Error("something is left")
			}
			s.Set(storagetest.None)
			v := n.visit(t)
			v.reads("one")
			v.leave()
		})
	}
}

// The heart of it: the store fails just when the last one leaves. Whoever comes finds
// everything, the pin keeps others away, and it is stored as soon as that can be.
func TestWhatCannotBeStoredAtTheEndIsOwed(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Down, storagetest.Refusal, storagetest.Truncated, storagetest.LostReply} {
		t.Run(string(fault), func(t *testing.T) {
			r, s := storing(t)
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

// visit2 is a visit whose load is spared the faults.
func (n *node) visit2(t *testing.T, s *storagetest.Faulty) *visit {
	t.Helper()
	fault := s.Get()
	s.Set(storagetest.None)
	v := n.visit(t)
	s.Set(fault)
	return v
}

// kill ends the node as a crash does: nothing is given up, nothing is stored.
func (n *node) kill() {
	n.killed.Store(true)
	n.end()
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

func (n *node) eventuallyGone(t *testing.T) {
	t.Helper()
	eventually(t, "the document is given up", func() bool { return n.Len() == 0 })
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

// Another region has stored meanwhile: the union is stored, and seen.
func TestWhatAnotherRegionStoresIsMerged(t *testing.T) {
	r, s := storing(t)
	n := r.node("a")
	v := n.visit(t)
	v.types("one")
	eventually(t, "it is stored", func() bool { return bytes.Contains(stored(t, s.Store).Body, []byte("one")) })
	theirs := stored(t, s.Store)
	if _, err := s.Store.Save(t.Context(), todo, theirs.Version, storage.Meta{}, insert("theirs")); err != nil {
		t.Fatal(err)
	}
	v.types("two")
	eventually(t, "the union is stored", func() bool {
		body := stored(t, s.Store).Body
		return bytes.Contains(body, []byte("theirs")) && bytes.Contains(body, []byte("one")) && bytes.Contains(body, []byte("two"))
	})
	v.reads("theirs")
	v.leave()
	n.settle(t)
	n.free(t)
}

// Rules 5 and 6: nothing of a document that was deleted comes back, whoever holds it.
func TestADeletedDocumentIsNotRevived(t *testing.T) {
	for name, finds := range map[string]func(n *node, v *visit){
		"by an edit": func(_ *node, v *visit) { v.types("late") },
		"when its pin is restored": func(n *node, _ *visit) {
			pin, _ := n.state(t)
			if err := n.follower.Restored(t.Context(), todo, pin); err != nil {
				t.Error(err)
			}
		},
		"when it moves to another epoch": func(n *node, _ *visit) {
			pin, _ := n.state(t)
			pin.Epoch = kvpin.Epoch(docid.NewStoredEpoch("other"))
			if err := n.follower.Rebased(t.Context(), todo, pin); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := storing(t)
			n := r.node("a")
			v := n.visit(t)
			v.types("one")
			eventually(t, "it is stored", func() bool { k := n.saves.kept(v.d.keeper); return k.Clean && !k.At.IsZero() })
			deleted := storage.Meta{Generation: storage.NewGeneration()}
			if _, err := s.Store.Delete(t.Context(), todo, stored(t, s.Store).Version, deleted); err != nil {
				t.Fatal(err)
			}
			finds(n, v)
			eventually(t, "its sessions are ended", func() bool { return n.dismissed.Load() == 1 })
			if err := v.d.StillHere(); !errors.Is(err, ErrDeleted) {
				t.Errorf("it is away: %v", err)
			}
			v.leave()
			n.settle(t)
			if _, err := n.tryVisit(t); !errors.Is(err, ErrDeleted) {
				t.Errorf("it opens: %v", err)
			}
			if _, err := s.Store.Stat(t.Context(), todo); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("the store has it: %v", err)
			}
			eventually(t, "its histories are purged", func() bool {
				for subject, err := range n.stored.Subjects(t.Context(), "") {
					if err != nil {
						t.Fatal(err)
					}
					doc, epoch, _ := docid.ParseUpdatesSubject(subject.Name)
					if found, err := n.lives.found(t.Context(), life{doc, epoch}); err != nil || !found.Clean() {
						return false
					}
				}
				return true
			})
		})
	}
}
