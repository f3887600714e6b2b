package quota

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
)

var errLost = errors.New("no answer")

// fakeBucket is a registry that several fake nodes use, with a lease for each.
type fakeBucket struct {
	mu       sync.Mutex
	rand     *rand.Rand
	values   map[string]stored
	revision uint64
	leases   map[string]string // by node; only current ones
	watchers map[*watcher]bool
	writes   int
	reads    int

	// What happens to requests, in shares of all.
	latency   time.Duration // at most
	lostAsk   float64       // the request never arrives
	lostReply float64       // it arrives, the answer does not
	late      float64       // a write arrives long after its sender gave up
}

type stored struct {
	value    []byte
	revision uint64
}

type watcher struct {
	prefix string
	events chan string // keys that changed
}

func newFakeBucket(seed uint64) *fakeBucket {
	return &fakeBucket{
		rand:   rand.New(rand.NewPCG(seed, 1)),
		values: map[string]stored{}, leases: map[string]string{}, watchers: map[*watcher]bool{},
	}
}

// requests returns how many writes and reads there were.
func (b *fakeBucket) requests() (writes, reads int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes, b.reads
}

// record returns the record of the test's app.
func (b *fakeBucket) record(t *testing.T) *record {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := decodeRecord(b.values[testApp.LimitKey(appScope)].value)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fakeNode is the Registry of one node.
type fakeNode struct {
	*fakeBucket
	node string
	cut  bool // from the registry; guarded by fakeBucket.mu
	dead bool // for good
}

// join gives a node its first lease.
func (b *fakeBucket) join(node string) *fakeNode {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leases[node] = node + "/1"
	return &fakeNode{fakeBucket: b, node: node}
}

// setCut cuts the node from the registry or mends the cut.
func (n *fakeNode) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut || n.dead
}

// die cuts the node off for good.
func (n *fakeNode) die() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut, n.dead = true, true
}

// endLease ends the node's lease; renewLease gives it another one.
func (n *fakeNode) endLease() {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.leases, n.node)
}

func (n *fakeNode) renewLease(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.dead {
		n.leases[n.node] = n.node + "/" + strconv.Itoa(number)
	}
}

func (n *fakeNode) Keys(docid.LicenseRegion) Keys { return n }

func (n *fakeNode) Lease(docid.LicenseRegion) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lease, ok := n.leases[n.node]
	return lease, ok
}

func (n *fakeNode) LeaseCurrent(_ context.Context, _ docid.LicenseRegion, node, lease string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return false, errLost
	}
	return n.leases[node] == lease, nil
}

// fate draws what happens to a request.
func (n *fakeNode) fate() (delay time.Duration, ask, reply, late bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.latency > 0 {
		delay = time.Duration(n.rand.Int64N(int64(n.latency)))
	}
	dice := n.rand.Float64()
	switch {
	case n.cut || dice < n.lostAsk:
		return delay, false, false, false
	case dice < n.lostAsk+n.lostReply:
		return delay, true, false, false
	case dice < n.lostAsk+n.lostReply+n.late:
		return delay, false, false, true
	}
	return delay, true, true, false
}

const fakeTimeout = 800 * time.Millisecond

func (n *fakeNode) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	delay, ask, reply, _ := n.fate()
	if !ask || !reply {
		time.Sleep(fakeTimeout)
		return nil, 0, errLost
	}
	time.Sleep(delay)
	n.mu.Lock()
	n.reads++
	v := n.values[key]
	n.mu.Unlock()
	time.Sleep(delay)
	return v.value, v.revision, ctx.Err()
}

func (n *fakeNode) Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	delay, ask, reply, late := n.fate()
	time.Sleep(delay)
	var next uint64
	var err error
	if ask {
		next, err = n.write(key, value, revision)
	}
	if late {
		n.mu.Lock()
		delay := time.Duration(n.rand.Int64N(int64(5 * time.Second)))
		n.mu.Unlock()
		time.AfterFunc(delay, func() { _, _ = n.write(key, value, revision) })
	}
	if !reply {
		time.Sleep(fakeTimeout)
		return 0, errLost
	}
	time.Sleep(delay)
	return next, err
}

func (b *fakeBucket) write(key string, value []byte, revision uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.values[key].revision != revision {
		return 0, ErrConflict
	}
	b.writes++
	b.revision++
	b.values[key] = stored{value, b.revision}
	for w := range b.watchers {
		if strings.HasPrefix(key, w.prefix) {
			select {
			case w.events <- key:
			default: // merged: the watcher reads the newest value anyway
			}
		}
	}
	return b.revision, nil
}

func (n *fakeNode) Watch(ctx context.Context, prefix string, handle func(string, []byte, uint64)) {
	w := &watcher{prefix: prefix, events: make(chan string, 256)}
	n.mu.Lock()
	n.watchers[w] = true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.watchers, w)
		n.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-w.events:
			n.mu.Lock()
			delay := time.Duration(0)
			if n.latency > 0 {
				delay = time.Duration(n.rand.Int64N(int64(n.latency)))
			}
			n.mu.Unlock()
			time.Sleep(delay)
			v, ok := n.seen(ctx, key)
			if !ok {
				return
			}
			handle(key, v.value, v.revision)
		}
	}
}

// seen returns what a watch tells of a key: during a cut nothing, and afterwards the
// newest. It returns false when ctx ends first.
func (n *fakeNode) seen(ctx context.Context, key string) (stored, bool) {
	for {
		n.mu.Lock()
		v, cut := n.values[key], n.cut
		n.mu.Unlock()
		if !cut {
			return v, true
		}
		select {
		case <-ctx.Done():
			return stored{}, false
		case <-time.After(fakeTimeout):
		}
	}
}
