package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.ServeApart()
	goleak.VerifyTestMain(m)
}

const license = docid.LicenseRegion("aws-eu-west-1")

var todo = docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}

// region is what nodes of one region live on.
type region struct {
	t    testing.TB
	url  string
	name docid.Region // "": eu-central-1

	registry string        // "": url
	store    storage.Store // nil: none
	storeID  string
	pins     func(*kvpin.Config)
	rooms    func(*room.Config) // nil: the defaults
	options  func(*Options)     // nil: those of the tests
	opens    func(Rooms) Rooms  // nil: as they are
}

// node are the documents of a node, without the node.
type node struct {
	*Documents
	rooms     *room.Rooms
	stored    *history.History // nil: there is no store
	registry  *kvpin.Registry
	bus       *bus.Bus
	log       lines
	started   atomic.Bool
	dismissed atomic.Int64
	killed    atomic.Bool // nothing is given up
	end       func()

	mu      sync.Mutex
	visits  map[*visit]struct{}
	reasons map[docid.Document]error // why sessions were ended
}

func (r region) node(id docid.NodeID) *node {
	t := r.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: r.url})
	must(err)
	b, err := bus.New(nc, bus.Config{Node: id})
	must(err)
	h, err := history.Open(ctx, nc, history.Config{Publisher: b})
	must(err)
	n := &node{bus: b, visits: map[*visit]struct{}{}, reasons: map[docid.Document]error{}}
	histories := r.histories(n, nc, h)
	settings := room.Config{Bus: b, History: histories}
	if r.rooms != nil {
		r.rooms(&settings)
	}
	rooms, err := room.Open(settings)
	must(err)
	n.rooms = rooms
	name := cmp.Or(r.name, "eu-central-1")
	pins := kvpin.Config{
		Region: name, Node: id, URL: "ws://" + string(name) + ".example", Grace: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: cmp.Or(r.registry, r.url), Create: true}},
	}
	r.pinned(n, &pins)
	registry, err := kvpin.Open(ctx, pins)
	must(err)
	n.registry = registry
	var done sync.WaitGroup
	running, end := context.WithCancel(context.Background())
	o := Options{
		Registry: registry, Rooms: rooms, History: histories, Bus: b, Region: name, Log: slog.New(slog.NewTextHandler(&n.log, nil)),
		Node: id, Started: time.Now(), Grace: time.Second, SweepEvery: time.Hour,
		Admit:    func(docid.AppID) error { return nil },
		Redirect: func(context.Context, docid.Document, kvpin.Pin) error { return errors.New("elsewhere") },
		Dismiss:  n.dismiss,
		Draining: func() bool { return false },
		Go:       done.Go,
	}
	r.stores(&o)
	if r.options != nil {
		r.options(&o)
	}
	if r.opens != nil {
		o.Rooms = r.opens(rooms)
	}
	n.Documents = New(running, running, o)
	n.started.Store(true)
	registry.Attach(n.Follower())
	done.Go(func() { n.Run(running) })
	n.end = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var err error
		if !n.killed.Load() {
			err = n.AwaitEmpty(ctx)
		}
		end()
		done.Wait()
		rooms.Close()
		err = errors.Join(err, registry.Close(ctx))
		h.Close()
		if n.stored != nil {
			n.stored.Close()
		}
		b.Close()
		nc.Close()
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.end)
	return n
}

// open enters a document until the test ends.
func (n *node) open(t *testing.T, doc docid.Document) (d *Document) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	eventually(t, "it is open", func() bool {
		var err error
		d, err = n.Enter(ctx, doc)
		if err != nil && !errors.Is(err, kvpin.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { n.Leave(d) })
	return d
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) says(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestADocumentLivesFromTheFirstUserToTheEndOfItsGracePeriod(t *testing.T) {
	r := region{t: t, url: natstest.Server(t).URL}
	n := r.node("a")
	d, err := n.Enter(t.Context(), todo)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.Enter(t.Context(), todo)
	if err != nil || again != d || n.Len() != 1 {
		t.Fatalf("a second user is in %p of %d, expected %p: %v", again, n.Len(), d, err)
	}
	ctx := t.Context()
	if err := d.Room().Restore(ctx); err != nil { // a history to purge
		t.Fatal(err)
	}
	epoch, h := d.Room().Epoch(), n.o.History
	subject := todo.UpdatesSubject(h.Shard(todo.PinKey()), epoch)
	if last, err := h.Last(ctx, subject); err != nil || last == 0 {
		t.Fatalf("the history ends at %d: %v", last, err)
	}
	n.Leave(d)
	n.Leave(again)
	if err := n.AwaitEmpty(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the history is purged", func() bool {
		last, err := h.Last(ctx, subject)
		return err == nil && last == 0
	})
	if _, state, err := n.o.Registry.Lookup(ctx, todo); err != nil || state != kvpin.Free {
		t.Errorf("it was purged while the pin is %s: %v", state, err)
	}
}

func TestNewsOfAPinWaitForADocumentThatIsBeingOpened(t *testing.T) {
	ds := New(t.Context(), t.Context(), Options{})
	ds.table.live[todo] = &Document{doc: todo, opened: make(chan struct{})}
	if err := ds.follower.Rebased(t.Context(), todo, kvpin.Pin{}); err == nil {
		t.Error("the document's new epoch was taken note of by nobody")
	}
	if err := ds.follower.Restored(t.Context(), todo, kvpin.Pin{}); err == nil {
		t.Error("the document's history was restored by nobody")
	}
}

// unstarted is a node of which nothing runs.
func (r region) unstarted() *node {
	n := &node{}
	n.Documents = New(r.t.Context(), r.t.Context(), Options{Log: slog.New(slog.NewTextHandler(&n.log, nil))})
	return n
}
