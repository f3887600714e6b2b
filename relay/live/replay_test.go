package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/storagemodel"
)

// Schedules of the storage protocol's model (test/storagemodel) on real nodes: three of
// two regions, each with a NATS of its own, one registry, one store. A node that is frozen
// in the model is cut off from NATS here until others take it for dead. A deletion is not
// among the steps: what nodes are told of it is tested by itself. Neither are the single steps
// of a move, through which a node goes without a stop.
type world struct {
	t      *testing.T
	store  *storagetest.Faulty
	nodes  map[string]*node
	links  map[string]*natstest.Proxy
	visits map[string]*visit
	cut    map[string]bool
	dead   map[string]bool
	acked  []string // what clients were told is durable
}

// worldLease is short, so that what is cut off is soon taken for dead.
const worldLease = 2 * time.Second

func newWorld(t *testing.T) *world {
	r, s := storing(t)
	r.pins = func(c *kvpin.Config) {
		c.LeaseTTL, c.SweepAfter, c.SweepEvery = worldLease, worldLease, time.Second
		c.About = func() kvpin.About { return kvpin.About{Can: []string{kvpin.CanStore, kvpin.CanMove}} }
	}
	w := &world{
		t: t, store: s, nodes: map[string]*node{}, links: map[string]*natstest.Proxy{},
		visits: map[string]*visit{}, cut: map[string]bool{}, dead: map[string]bool{},
	}
	other := natstest.Server(t).URL
	for name, at := range map[string]struct {
		region docid.Region
		nats   string
	}{"A1": {"eu-central-1", r.url}, "A2": {"eu-central-1", r.url}, "B1": {"us-east-1", other}} {
		link := natstest.NewProxy(t, at.nats)
		of := r
		of.name, of.registry, of.url = at.region, r.url, link.URL
		if at.nats == r.url {
			of.registry = link.URL
		}
		w.links[name] = link
		w.nodes[name] = of.node(docid.NodeID(strings.ToLower(name)))
	}
	return w
}

// can reports whether a step of the model can be done here.
func can(step string) bool {
	what, _, _ := cutLast(step)
	return !slices.Contains([]string{"delete", "recreate", "mark", "stop", "rest", "commit", "go on"}, what)
}

// do does a step as far as it can happen now.
func (w *world) do(step string) {
	what, name, _ := cutLast(step)
	switch {
	case step == "store down":
		w.store.Set(storagetest.Down)
	case step == "store up":
		w.store.Set(storagetest.None)
	case step == "expire":
		time.Sleep(w.nodes["A2"].o.Grace + 500*time.Millisecond) // nothing tells when a key has expired
	case step == "orphan":
		time.Sleep(worldLease)
	case what == "pay": // the region does it by itself
	case w.dead[name]:
	case what == "wake" || what == "wake and edit":
		w.wake(name, what != "wake")
	case w.cut[name]:
	case what == "freeze":
		w.links[name].Cut()
		w.cut[name] = true
		time.Sleep(worldLease + time.Second) // until others take it for dead
	case what == "crash":
		w.nodes[name].kill()
		w.dead[name] = true
		delete(w.visits, name)
	case what == "open":
		w.open(name)
	case w.visits[name] == nil:
	default:
		w.withDocument(what, name)
	}
}

// cutLast takes "wake and edit A1" apart.
func cutLast(step string) (what, name string, ok bool) {
	i := strings.LastIndexByte(step, ' ')
	if i < 0 {
		return step, "", false
	}
	return step[:i], step[i+1:], true
}

func (w *world) withDocument(what, name string) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	v := w.visits[name]
	switch what {
	case "edit":
		w.edit(name)
	case "compact": // of it the snapshot
		_ = v.d.Room().Restore(ctx)
	case "save", "save2":
		_ = w.nodes[name].Save(ctx, v.d)
	case "move":
		w.move(name)
	case "leave2":
		v.leave()
		delete(w.visits, name)
	}
}

// move moves the document to the other region, if that can be done now. Its users leave.
func (w *world) move(name string) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	from, to := w.nodes[name].o.Region, docid.Region("us-east-1")
	if from == to {
		to = "eu-central-1"
	}
	if _, err := w.nodes[name].Moves.Move(ctx, todo, to); err != nil {
		return
	}
	for other, v := range w.visits {
		n := w.nodes[other]
		if n.o.Region != from || w.cut[other] {
			continue
		}
		eventually(w.t, other+" hears that the document has moved", func() bool { return v.d.StillHere() != nil })
		v.leave()
		delete(w.visits, other)
	}
}

func (w *world) open(name string) {
	if w.visits[name] != nil {
		return
	}
	if v, err := w.nodes[name].tryVisit(w.t); err == nil {
		w.visits[name] = v
	}
}

// edit counts only if the client is told that it is durable.
func (w *world) edit(name string) {
	v := w.visits[name]
	text := fmt.Sprintf("edit %d of %s.", len(w.acked), name)
	if _, err := v.seat.Apply(insert(text)); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if v.d.Room().Durable(ctx) == nil && v.d.StillHere() == nil {
		w.acked = append(w.acked, text)
	}
}

// wake lets a node find out what became of its document.
func (w *world) wake(name string, edit bool) {
	if !w.cut[name] {
		return
	}
	w.cut[name] = false
	w.links[name].Heal()
	v, n := w.visits[name], w.nodes[name]
	if edit && v != nil {
		w.edit(name)
	}
	eventually(w.t, name+" reaches the registry", func() bool {
		_, _, err := n.registry.Lookup(w.t.Context(), todo)
		return err == nil
	})
	if v != nil && v.d.StillHere() != nil { // its clients are told to go
		v.leave()
		delete(w.visits, name)
	}
}

// settle ends all that goes on, and looks whether the store has what it must have.
func (w *world) settle() {
	w.store.Set(storagetest.None)
	for name := range w.nodes {
		w.wake(name, false)
	}
	for name, v := range w.visits {
		v.leave()
		delete(w.visits, name)
	}
	var missing []string
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		body := stored(w.t, w.store.Store).Body
		missing = missing[:0]
		for _, text := range w.acked {
			if !bytes.Contains(body, []byte(text)) {
				missing = append(missing, text)
			}
		}
		pin, state, err := w.nodes["A2"].registry.Lookup(w.t.Context(), todo)
		if len(missing) == 0 && err == nil && state == kvpin.Free {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the store lacks %q of %q; the pin is %s: %+v, %v", missing, w.acked, state, pin, err)
		}
	}
}

func TestSchedulesOfTheModelHoldForRealNodes(t *testing.T) {
	schedules := 12
	if n, err := strconv.Atoi(os.Getenv("WSNODE_SOAK")); err == nil {
		schedules = n
	}
	first := uint64(time.Now().UnixNano())
	if seed, err := strconv.ParseUint(os.Getenv("WSNODE_SEED"), 10, 64); err == nil {
		first = seed
	}
	for i := range schedules {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			schedule := storagemodel.Draw(seed, can)
			t.Logf("WSNODE_SEED=%d: %s", seed, strings.Join(schedule, ", "))
			w := newWorld(t)
			for _, step := range schedule {
				w.do(step)
			}
			w.settle()
		})
	}
}
