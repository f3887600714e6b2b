package live

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
)

// unheard looks whether the nodes that a document's pin names beside this one are
// heard in the region. One that is not, although its lease is current, shares the
// registry with this node and not the users: its NATS is another cluster, or a part
// that is cut off. Who opens a document that others have finds them in its pin, so it
// is enough to look after openings.
type unheard struct {
	docs *Documents
	wake chan struct{}

	mu   sync.Mutex
	due  []suspicion // in the order of at
	told map[*Document]struct{}
}

type suspicion struct {
	d  *Document
	at time.Time
}

// unheardAfter is how long rooms have to find each other. A room that is heard no
// more is forgotten sooner, and a node that has just left is out of the pin.
const unheardAfter = 15 * time.Second

func (u *unheard) init(ds *Documents) {
	u.docs, u.wake, u.told = ds, make(chan struct{}, 1), map[*Document]struct{}{}
}

// count is how many documents have nodes that are not heard.
func (u *unheard) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.told)
}

// watch has a document looked at if its pin names other nodes.
func (u *unheard) watch(d *Document) {
	if len(u.missing(d, d.hold.Pin())) == 0 {
		return
	}
	u.mu.Lock()
	u.due = append(u.due, suspicion{d, time.Now().Add(unheardAfter)})
	first := len(u.due) == 1
	u.mu.Unlock()
	if !first {
		return
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// missing are the holders of a pin on other nodes whose rooms are not heard.
func (u *unheard) missing(d *Document, pin kvpin.Pin) (holders []kvpin.Holder) {
	pods := d.room.Pods()
	for _, h := range pin.Holders {
		if h.Node != u.docs.o.Node && !slices.Contains(pods, bus.PodSubject(h.Node)) {
			holders = append(holders, h)
		}
	}
	return holders
}

func (u *unheard) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d, wait := u.next(time.Now())
		if d != nil {
			u.look(ctx, d)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		case <-timer.C:
		}
	}
}

// next takes the first suspicion that is due, or says how long to wait for it.
func (u *unheard) next(now time.Time) (*Document, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.due) == 0 {
		return nil, time.Hour
	}
	if wait := u.due[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	d := u.due[0].d
	u.due = slices.Delete(u.due, 0, 1)
	return d, 0
}

// look tells of a document whose other nodes are still not heard, has its room look
// for them, and comes again.
func (u *unheard) look(ctx context.Context, d *Document) {
	silent, known := u.silent(ctx, d)
	u.mu.Lock()
	_, told := u.told[d]
	if len(silent) == 0 && known {
		delete(u.told, d)
		u.mu.Unlock()
		return
	}
	if known {
		u.told[d] = struct{}{}
	}
	u.due = append(u.due, suspicion{d, time.Now().Add(unheardAfter)})
	u.mu.Unlock()
	if known && !told {
		u.docs.o.Log.Error("another node has a document open by its pin, and is not heard in the region: their users do not meet",
			"document", d.doc.String(), "nodes", silent)
	}
	d.room.Look()
}

// silent are the nodes that have a document open by its pin and a current lease, and
// are not heard. known is false if the registry does not say.
func (u *unheard) silent(ctx context.Context, d *Document) (nodes []docid.NodeID, known bool) {
	if u.docs.Get(d.doc) != d || len(u.missing(d, d.hold.Pin())) == 0 {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	registry := u.docs.o.Registry
	pin, _, err := registry.Lookup(ctx, d.doc)
	if err != nil {
		return nil, false
	}
	if string(pin.Epoch) != d.room.Epoch() {
		return nil, true // it is told by others that the document is elsewhere
	}
	for _, h := range u.missing(d, pin) {
		current, err := registry.LeaseCurrent(ctx, d.doc.License, h.Node, h.Lease)
		if err != nil {
			return nil, false
		}
		if current {
			nodes = append(nodes, h.Node)
		}
	}
	return nodes, true
}
