package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/docs"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/natstest"
)

// apart is another region with the store and the registry of r, and a NATS of its own.
func (r region) apart(name docid.Region) region {
	registry := r.url
	r.name, r.url = name, natstest.Server(r.t).URL
	r.registryAt(registry)
	return r
}

// registryAt has the nodes find the registry elsewhere than in their region.
func (r *region) registryAt(url string) {
	before := r.pins
	r.pins = func(c *kvpin.Config) {
		c.Registries = map[docid.LicenseRegion]kvpin.Source{license: {URL: url, Create: true}}
		if before != nil {
			before(c)
		}
	}
}

// brief has leases run out soon.
func (r *region) brief() {
	before := r.pins
	r.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter, c.SweepEvery = 2*time.Second, 2*time.Second, time.Second
		if before != nil {
			before(c)
		}
	}
}

// operator deletes documents through a node.
func (n *node) operator() *docs.Docs {
	return docs.New(docs.Config{Region: n.o.Region, Store: n.o.Store, Pins: n.registry, Budget: storage.NewBudget(1 << 20)})
}

// leftOf is how much the histories of a node's region hold of a document beside markers.
func (n *node) leftOf(t *testing.T, doc docid.Document) (left []string) {
	t.Helper()
	for subject, err := range n.stored.Subjects(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		d, epoch, err := docid.ParseUpdatesSubject(subject.Name)
		if err != nil {
			t.Fatal(err)
		}
		if d != doc {
			continue
		}
		if found, err := n.lives.found(t.Context(), life{d, epoch}); err != nil || !found.Ended || subject.Messages != 1 {
			left = append(left, fmt.Sprintf("%d messages of %s (%v)", subject.Messages, epoch, err))
		}
	}
	return left
}

// Three are in, on two nodes, and a node of another region deletes: all are out for good,
// nothing is left anywhere, and the fourth who was away is told.
func TestALiveDocumentIsDeletedOnAllNodes(t *testing.T) {
	for name, edited := range map[string]bool{"stored": false, "never stored": true} {
		t.Run(name, func(t *testing.T) {
			eu, s := storing(t)
			us := eu.apart("us-east-1")
			a, b, c := eu.node("a"), eu.node("b"), us.node("c")
			if edited { // the store does not have it, nor all that was typed
				s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
					if operation == "save" {
						return storagetest.Down
					}
					return storagetest.None
				}
			}
			one, two, three := a.visit(t), a.visit(t), b.visit(t)
			for i, v := range []*visit{one, two, three} {
				v.obeys()
				v.types(fmt.Sprint("old ", i))
			}
			if !edited {
				eventually(t, "it is stored", func() bool { return a.saves.kept(one.d.keeper).Clean })
			}
			if result, err := c.operator().Delete(t.Context(), todo); err != nil || result.Outcome != docs.Deleted {
				t.Fatalf("%+v: %v", result, err)
			}
			for _, n := range []*node{a, b} {
				if why := n.reason(todo); !errors.Is(why, ErrDeleted) || n.Len() != 0 {
					t.Errorf("node %s has %d documents, whose sessions were ended for %v", n.o.Node, n.Len(), why)
				}
			}
			if left := a.leftOf(t, todo); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
			for _, n := range []*node{a, b, c} {
				eventually(t, "it is deleted", func() bool { // for a second the region that had it is asked
					v, err := n.tryVisit(t)
					if err == nil {
						t.Fatalf("it opens on %s with %q", n.o.Node, v.d.Room().Export())
					}
					return errors.Is(err, ErrDeleted)
				})
			}
			a.free(t)
			if _, err := s.Store.Stat(t.Context(), todo); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("the store has it: %v", err)
			}
		})
	}
}

// Nothing of it is to be kept, so its end waits for no history: who deletes it waits.
func TestWhatWasDeletedIsGivenUpWithoutItsHistory(t *testing.T) {
	eu, _ := storing(t)
	registry, way := eu.url, natstest.NewProxy(t, eu.url)
	eu.url = way.URL
	eu.registryAt(registry)
	n := eu.node("a")
	for _, waits := range []bool{false, true} {
		v := n.visit(t)
		way.Cut()
		if _, err := v.seat.Apply(insert("never acknowledged")); err != nil {
			t.Fatal(err)
		}
		_, gone := n.table.entry(todo)
		if waits {
			v.leave()
			eventually(t, "it waits for the history", func() bool {
				v.d.fate.mu.Lock()
				defer v.d.fate.mu.Unlock()
				return v.d.fate.stopWaiting != nil
			})
			n.deleted(v.d)
		} else {
			n.deleted(v.d)
			v.leave()
		}
		select {
		case <-gone:
		case <-time.After(durableWait * 3 / 4):
			t.Errorf("it is not given up; its end was awaited already: %t", waits)
		}
		way.Heal()
	}
}

// What is owed keeps its pin and its history until the store is back. A deletion ends both.
func TestADocumentThatIsOwedIsDeleted(t *testing.T) {
	eu, s := storing(t)
	us := eu.apart("us-east-1")
	a, c := eu.node("a"), us.node("c")
	var down atomic.Bool
	s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if operation == "save" && down.Load() {
			return storagetest.Down
		}
		return storagetest.None
	}
	down.Store(true)
	v := a.visit(t)
	v.types("old")
	v.leave()
	a.settle(t)
	if _, state := a.state(t); state != kvpin.Owed {
		t.Fatalf("the pin is %s", state)
	}
	down.Store(false)
	if _, err := c.operator().Delete(t.Context(), todo); err != nil {
		t.Fatal(err)
	}
	if left := a.leftOf(t, todo); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	if _, err := a.tryVisit(t); !errors.Is(err, ErrDeleted) {
		t.Errorf("it opens: %v", err)
	}
}

// held keeps rooms from those who opened them.
type held struct {
	Rooms
	opened, hold chan struct{}
}

func (h *held) Open(ctx context.Context, doc docid.Document, epoch string, fresh bool, kept *room.Kept) (*room.Room, error) {
	r, err := h.Rooms.Open(ctx, doc, epoch, fresh, kept)
	close(h.opened)
	<-h.hold
	return r, err
}

// A node that is just opening the document has loaded what is deleted then: it answers
// when it has closed.
func TestADeletionWaitsForAnOpening(t *testing.T) {
	r, s := storing(t)
	if _, err := s.Store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, insert("old")); err != nil {
		t.Fatal(err)
	}
	h := &held{opened: make(chan struct{}), hold: make(chan struct{})}
	opening := r
	opening.opens = func(rooms Rooms) Rooms { h.Rooms = rooms; return h }
	a, b := opening.node("a"), r.node("b")
	entered := make(chan error, 1)
	go func() {
		v, err := a.tryVisit(t)
		if err == nil {
			v.leave()
		}
		entered <- err
	}()
	<-h.opened
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.follower.Told(over, todo, ""); !errors.Is(err, context.Canceled) { // it waits for as long as it may
		t.Errorf("it has looked at the store before it is open: %v", err)
	}
	var released atomic.Bool
	deleted := make(chan error, 1)
	go func() {
		_, err := b.operator().Delete(t.Context(), todo)
		if !released.Load() {
			err = errors.Join(err, errors.New("it is deleted while a node opens it"))
		}
		deleted <- err
	}()
	eventually(t, "the pin is gone", func() bool { _, state := b.state(t); return state == kvpin.Free })
	released.Store(true)
	close(h.hold)
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if a.Len() != 0 {
		t.Error("it is open")
	}
	<-entered // whether it was let in for a moment or not
}

// ordered is a document to which four things happen in one of all orders: it is (D)eleted
// and (C)reated anew, its pin is removed so that it is (R)estored, and a node that has it
// open and was frozen (T)haws.
type ordered struct {
	doc   docid.Document
	order string
	*visit
	registry *kvpin.Inspector
}

func orders(rest string) (all []string) {
	if rest == "" {
		return []string{""}
	}
	for i := range rest {
		for _, tail := range orders(rest[:i] + rest[i+1:]) {
			all = append(all, rest[i:i+1]+tail)
		}
	}
	return all
}

// Nothing of a former life comes back, in whatever order a document is deleted, created
// anew, restored, and taken up by a node that knew nothing of it.
func TestNothingIsRevivedInWhateverOrder(t *testing.T) {
	eu, s := storing(t)
	eu.brief()
	us := eu.apart("us-east-1")
	frozen := eu
	ways := []*natstest.Proxy{natstest.NewProxy(t, eu.url), natstest.NewProxy(t, eu.url)}
	frozen.url = ways[0].URL
	frozen.registryAt(ways[1].URL)
	a, b, c := eu.node("a"), frozen.node("b"), us.node("c")
	registry, err := kvpin.OpenInspector(t.Context(), map[docid.LicenseRegion]kvpin.Source{license: {URL: eu.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	var all []*ordered
	for _, order := range orders("DCRT") {
		o := &ordered{doc: todo, order: order, registry: registry}
		o.doc.Name = order
		if o.visit, err = b.tryVisitOf(t, o.doc); err != nil {
			t.Fatal(err)
		}
		o.obeys()
		o.types("old " + order)
		all = append(all, o)
	}
	for _, o := range all {
		eventually(t, o.order+" is stored", func() bool { return b.saves.kept(o.d.keeper).Clean })
	}
	for _, way := range ways {
		way.Cut()
	}
	eventually(t, "the frozen node has lost its lease", func() bool {
		current, err := a.registry.LeaseCurrent(t.Context(), license, "b", all[0].d.hold.Pin().Holders[0].Lease)
		return err == nil && !current
	})
	for _, o := range all {
		before, _, _ := strings.Cut(o.order, "T")
		o.happens(a, c, s.Store, before)
	}
	for _, way := range ways {
		way.Heal()
	}
	eventually(t, "it has thawed", func() bool { return b.registry.Reachable(license) && b.registry.Stats(license).Owed == 0 })
	for _, o := range all {
		_, after, _ := strings.Cut(o.order, "T")
		o.happens(a, c, s.Store, after)
	}
	for _, o := range all {
		o.check(a, b, c, s.Store)
	}
}

// happens has one thing after the other happen to the document.
func (o *ordered) happens(a, c *node, s storage.Store, what string) {
	t := o.t
	for _, step := range what {
		switch step {
		case 'D':
			_, err := a.operator().Delete(t.Context(), o.doc)
			if silent := (*docs.SilentError)(nil); err != nil && !errors.As(err, &silent) { // a starved node may be; it is checked in the end
				t.Errorf("%s: delete: %v", o.order, err)
			}
		case 'C':
			o.create(s)
			if strings.Index(o.order, "D") > strings.Index(o.order, "C") {
				continue
			}
			opener := []*node{a, c}[slices.Index(orders("DCRT"), o.order)%2]
			var err error
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				var v *visit
				if v, err = opener.tryVisitOf(t, o.doc); err == nil {
					v.obeys()
					break
				}
			}
			if err != nil {
				pin, state := kvpin.Pin{}, kvpin.Free
				pin, state, _ = a.registry.Lookup(t.Context(), o.doc)
				t.Errorf("%s does not open anew on %s: %v; %s %+v", o.order, opener.o.Node, err, state, pin)
			}
		case 'R':
			info, err := o.registry.Pin(t.Context(), o.doc)
			if err == nil && info.State != kvpin.Free {
				err = o.registry.Unpin(t.Context(), o.doc, info.Pin.Revision)
			}
			if err != nil && !errors.Is(err, kvpin.ErrNotFound) && !errors.Is(err, kvpin.ErrConflict) { // it goes by itself
				t.Errorf("%s: release: %v", o.order, err)
			}
		}
	}
}

// create puts something into the store, whatever is there.
func (o *ordered) create(s storage.Store) {
	var meta storage.Meta
	info, err := s.Stat(o.t.Context(), o.doc)
	var tombstone *storage.DeletedError
	if errors.As(err, &tombstone) {
		info, err = tombstone.Tombstone, nil
	}
	meta.Generation = info.Generation
	if err == nil {
		_, err = s.Save(o.t.Context(), o.doc, info.Version, meta, insert("anew"))
	}
	if err != nil {
		o.t.Errorf("%s: create: %v", o.order, err)
	}
}

func (o *ordered) check(a, b, c *node, s storage.Store) {
	t := o.t
	anew := strings.Index(o.order, "D") < strings.Index(o.order, "C")
	eventually(t, o.order+" is known to be deleted where it was frozen", func() bool { return errors.Is(b.reason(o.doc), ErrDeleted) })
	eventually(t, o.order+" is given up there", func() bool { return b.Get(o.doc) == nil || b.Get(o.doc) != o.d })
	stored, err := s.Load(t.Context(), o.doc, nil)
	switch {
	case bytes.Contains(stored.Body, []byte("old")):
		t.Errorf("%s: the store has %q", o.order, stored.Body)
	case anew && (err != nil || !bytes.Contains(stored.Body, []byte("anew"))):
		t.Errorf("%s: the store has %q: %v", o.order, stored.Body, err)
	case !anew && !errors.Is(err, storage.ErrDeleted):
		t.Errorf("%s: the store has it: %v", o.order, err)
	}
	for _, n := range []*node{a, b, c} {
		if d := n.Get(o.doc); d != nil && bytes.Contains(d.Room().Export(), []byte("old")) {
			t.Errorf("%s: node %s shows %q", o.order, n.o.Node, d.Room().Export())
		}
	}
}
