package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
		c.Swept = func(license docid.LicenseRegion) {
			if n.started.Load() {
				n.Swept(license)
			}
		}
		c.Owes = func(license docid.LicenseRegion) bool { return n.started.Load() && n.Owes(license) }
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

func (client) Prefetch()                                      {}
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

func (n *node) eventuallyGone(t *testing.T) {
	t.Helper()
	eventually(t, "the document is given up", func() bool { return n.Len() == 0 })
}
