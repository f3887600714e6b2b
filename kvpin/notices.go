package kvpin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// A notice asks a node to look at what the store holds of a document: somebody has
// deleted it, or has stored what the life that is pinned does not have. It is a key that
// names the node, and stays until the node has looked and deletes it. So whoever left it
// may end, and the node may be frozen meanwhile.

const (
	// noticeLife is how long a notice waits for its node, which sees it at once if it is
	// alive. A node whose lease is gone looks at the store by itself before it goes on.
	noticeLife = time.Hour
	// noticesAtOnce is how many documents a node looks at beside each other.
	noticesAtOnce = 8
	// lookTime bounds one look: a document that is being opened is waited for.
	lookTime = 45 * time.Second
)

// noticeRecord is a notice as the bucket stores it. Notices of operators, by whom a pin
// was removed, are the pin's key alone.
type noticeRecord struct {
	Pin   string  `json:"pin"`
	Epoch Epoch   `json:"epoch"`
	Lease LeaseID `json:"lease,omitempty"` // under which the node held the pin
	moveNotice
}

// noticeKey is where a node finds the notice about a document: one, however often it is
// left.
func noticeKey(node docid.NodeID, pinKey string) string {
	sum := sha256.Sum256([]byte(pinKey))
	return noticePrefix + string(node) + ".store-" + hex.EncodeToString(sum[:16])
}

// StoreChanged asks the holders of a pin to look at what the store holds of the document, and
// waits until each of them has or its lease is gone. It returns as silent those of which
// neither was known when ctx ended; as long as they live they look all the same. If no
// holder lives and anybody is set, another node of the region is asked instead.
func (r *Registry) StoreChanged(ctx context.Context, doc docid.Document, p Pin, anybody bool) (silent []docid.NodeID, err error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return nil, err
	}
	holders := p.Holders
	if anybody {
		if holders, err = b.notices.living(ctx, p); err != nil {
			return nil, fmt.Errorf("tell the holders of %s: %w", doc, err)
		}
	}
	var mu sync.Mutex
	var delivering sync.WaitGroup
	for _, h := range holders {
		delivering.Go(func() {
			failed := b.notices.deliver(ctx, noticeKey(h.Node, doc.PinKey()), noticeRecord{Pin: doc.PinKey(), Epoch: p.Epoch, Lease: h.Lease}, h)
			mu.Lock()
			defer mu.Unlock()
			if failed != nil {
				silent, err = append(silent, h.Node), failed
			}
		})
	}
	delivering.Wait()
	slices.Sort(silent)
	if err != nil {
		err = fmt.Errorf("tell the holders of %s: %w", doc, err)
	}
	return silent, err
}

// notices are what this node was asked to look at.
type notices struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	leases   *leases
	pins     *pins
	wake     chan struct{}

	mu  sync.Mutex
	got map[string]*notice // by key
}

type notice struct {
	key      string
	doc      docid.Document
	epoch    Epoch
	move     moveNotice
	revision uint64
	due      time.Time
	tries    int
	busy     bool
}

func newNotices(cfg *Config, license docid.LicenseRegion, requests *requests, leases *leases, pins *pins) *notices {
	return &notices{cfg: cfg, license: license, requests: requests, leases: leases, pins: pins, wake: make(chan struct{}, 1), got: map[string]*notice{}}
}

// living are those holders of a pin that are alive; if none is, some node of its region
// that has a lease.
func (ns *notices) living(ctx context.Context, p Pin) (found []Holder, err error) {
	for _, h := range p.Holders {
		alive, err := ns.leases.alive(ctx, h)
		if err != nil {
			return nil, err
		}
		if alive {
			found = append(found, h)
		}
	}
	if len(found) > 0 || p.Region == "" {
		return found, nil
	}
	prefix := leasePrefix + string(p.Region) + "."
	err = ns.requests.store.Scan(ctx, prefix+">", func(e kv.Entry) error {
		l, ok, err := ns.leases.clock.leaseOf(e, ns.cfg.LeaseTTL)
		if err != nil || !ok || l.Left {
			return nil
		}
		found = []Holder{{docid.NodeID(strings.TrimPrefix(e.Key, prefix)), l.Lease}}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// deliver leaves a notice for a holder and waits until it has looked. A failure to write is
// tried again, until ctx ends.
func (ns *notices) deliver(ctx context.Context, key string, r noticeRecord, h Holder) (err error) {
	value, _ := json.Marshal(r) // cannot fail
	wait, left := 20*time.Millisecond, false
	for {
		var alive, answered bool
		if alive, err = ns.leases.alive(ctx, h); err == nil && !alive {
			return nil
		}
		if err == nil {
			left, answered, err = ns.leave(ctx, key, value, left)
		}
		if answered {
			return nil
		}
		pause.For(ctx, wait)
		if wait = min(2*wait, time.Second); ctx.Err() != nil {
			return fmt.Errorf("node %s has not answered: %w", h.Node, errors.Join(err, ctx.Err()))
		}
	}
}

// leave writes a notice if it is not left yet, else looks whether it was answered.
func (ns *notices) leave(ctx context.Context, key string, value []byte, left bool) (_, answered bool, err error) {
	e, err := ns.requests.get(ctx, key)
	if err != nil {
		return left, false, err
	}
	if left {
		return true, !e.Present, nil
	}
	// Whatever is there is written anew: its node may be just done with looking.
	err = ns.requests.leave(ctx, key, value, e.Revision, noticeLife)
	return err == nil, false, err
}

// take takes what the watch reports of this node's notices about stores.
func (ns *notices) take(e kv.Entry) {
	var r noticeRecord
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if !e.Present {
		delete(ns.got, e.Key)
		return
	}
	if json.Unmarshal(e.Value, &r) != nil {
		return // of a later version
	}
	doc, err := docid.ParsePinKey(ns.license, r.Pin)
	if err != nil {
		return
	}
	if known := ns.got[e.Key]; known != nil && known.revision >= e.Revision {
		return
	}
	ns.got[e.Key] = &notice{key: e.Key, doc: doc, epoch: r.Epoch, move: r.moveNotice, revision: e.Revision, due: time.Now()}
	signal(ns.wake)
}

// run looks at what this node is asked to, until ctx ends.
func (ns *notices) run(ctx context.Context) {
	slots := make(chan struct{}, noticesAtOnce)
	var looking sync.WaitGroup
	defer looking.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait := ns.due(time.Now())
		for _, n := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			looking.Go(func() {
				ns.answer(ctx, n)
				<-slots
			})
		}
		timer.Reset(wait)
		select {
		case <-ns.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

func (ns *notices) due(now time.Time) (due []*notice, wait time.Duration) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	wait = time.Hour
	for _, n := range ns.got {
		switch rest := n.due.Sub(now); {
		case n.busy:
		case rest > 0:
			wait = min(wait, rest)
		default:
			n.busy = true
			due = append(due, n)
		}
	}
	return due, wait
}

// answer has the node's rooms look, and deletes the notice, unless another has taken its
// place meanwhile. What fails is tried again.
func (ns *notices) answer(ctx context.Context, n *notice) {
	err := errNotYet
	if rooms := ns.pins.rooms.Load(); rooms != nil {
		within, cancel := context.WithTimeout(ctx, lookTime)
		if n.move.Move == "" {
			err = (*rooms).Told(within, n.doc, n.epoch)
		} else {
			err = ns.pins.followMove(within, *rooms, n)
		}
		cancel()
	}
	if err == nil {
		err = ns.requests.remove(ctx, n.key, n.revision)
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if (err == nil || errors.Is(err, ErrConflict)) && ns.got[n.key] == n {
		delete(ns.got, n.key)
	}
	n.busy = false
	n.due = time.Now().Add(min(100*time.Millisecond<<min(n.tries, 8), 10*time.Second))
	n.tries++
	signal(ns.wake)
}

// Evict removes the pin of a document, whoever holds it. It returns the pins that it
// removed, or may have: nearly always one, or none if there was none. Their holders go on
// until they are told: see StoreChanged.
func (r *Registry) Evict(ctx context.Context, doc docid.Document) (removed []Pin, err error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return nil, err
	}
	ps := b.pins
	d, err := ps.docs.begin(ctx, doc)
	if err != nil {
		return nil, fmt.Errorf("remove the pin of %s: %w", doc, err)
	}
	defer ps.docs.end(d)
	for {
		var e kv.Entry
		if e, err = ps.readPin(ctx, d); err == nil && !e.Present {
			return removed, nil
		}
		if err == nil {
			p, _ := decodePin(e) // one that cannot be read is removed, too
			removed = append(removed, p)
			if err = ps.requests.remove(ctx, d.key, e.Revision); err == nil {
				return removed, nil
			}
		}
		pause.Between(ctx, 5*time.Millisecond, 50*time.Millisecond)
		if ctx.Err() != nil {
			return removed, fmt.Errorf("remove the pin of %s: %w", doc, err)
		}
	}
}
