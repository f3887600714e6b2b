package kvpin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Hold is this node's place among the holders of a document, from Hold or Adopt
// until Release, or until the document has moved. Its methods may be called
// concurrently.
type Hold struct {
	b   *bucket
	doc docid.Document
	ctx context.Context // ends with the hold; for Rooms
	end context.CancelFunc

	mu       sync.Mutex
	pin      Pin
	renewAt  time.Time // when the pin's expiry wants renewing
	left     bool      // Release was called
	lastLeft time.Time
}

// Pin returns the pin as this node last wrote or read it. An adopted hold has the
// region and the epoch only, until its entry is made.
func (h *Hold) Pin() Pin {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pin
}

// Done is closed when the hold is over: released, or moved to another region. A
// room that was being opened while Moved was told learns it here.
func (h *Hold) Done() <-chan struct{} { return h.ctx.Done() }

// Document returns what is held.
func (h *Hold) Document() docid.Document { return h.doc }

func (h *Hold) setPin(p Pin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pin = p
	half := h.b.cfg.Backstop / 2
	h.renewAt = time.Now().Add(half*3/4 + mathrand.N(half/4))
}

func (b *bucket) newHold(doc docid.Document, p Pin) *Hold {
	h := &Hold{b: b, doc: doc}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.setPin(p)
	return h
}

func newEpoch() Epoch { return Epoch(rand.Text()[:16]) }

func isUnsettled(err error) bool { return errors.Is(err, ErrUnsettled) }

// claim makes this node a holder of the document.
func (b *bucket) claim(ctx context.Context, doc docid.Document) (h *Hold, err error) {
	op, start := "hold", time.Now()
	defer func() { b.observe(op, start, err) }()
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	d, err := b.begin(ctx, doc)
	if err != nil {
		return nil, err
	}
	defer b.end(d)
	if d.hold != nil {
		return nil, fmt.Errorf("hold %s: %w", doc, ErrHeld)
	}
	p, err := b.enter(ctx, d)
	if err != nil {
		d.lastLeft, d.was = time.Time{}, Pin{}
		b.linger(d)
		var pinned *PinnedError
		if errors.As(err, &pinned) {
			return nil, err
		}
		return nil, fmt.Errorf("hold %s: %w", doc, err)
	}
	h = b.newHold(doc, p)
	b.install(d, h)
	return h, nil
}

// install makes h the document's hold. A lease that was lost since the pin was
// written sends the document through validation.
func (b *bucket) install(d *document, h *Hold) {
	b.mu.Lock()
	d.hold, d.backstop = h, false
	b.mu.Unlock()
	d.attempts, d.tell = 0, nothing
	for _, holder := range h.pin.Holders {
		if lease, ok := b.lease.current(time.Now()); holder.Node == b.cfg.Node && ok && holder.Lease == lease.id {
			return
		}
	}
	b.mu.Lock()
	b.validating[d] = struct{}{}
	b.mu.Unlock()
	b.owe(d, 0)
}

// enter writes this node into the document's pin until it is there, or the pin
// turns out to be another region's. It begins with what a look up has just read,
// else with the guess that there is no pin, which saves most documents a request;
// only a write proves either right.
func (b *bucket) enter(ctx context.Context, d *document) (Pin, error) {
	e, hinted := b.hints.take(d.name)
	hinted = hinted || len(d.doubts) == 0
	for {
		if !hinted {
			var err error
			if e, err = b.readPin(ctx, d); err != nil {
				return Pin{}, err
			}
		}
		next, write, err := b.entered(ctx, d, e)
		if err != nil {
			return Pin{}, err
		}
		if write {
			p, err := b.writePin(ctx, d, next, e.Revision, b.cfg.Backstop)
			if !errors.Is(err, ErrConflict) {
				return p, err
			}
			if !hinted {
				pause(ctx, 0, 5*time.Millisecond)
			}
		} else if !hinted {
			return next, nil
		}
		hinted = false
	}
}

// entered returns the pin with this node in it, and whether it is to be written.
func (b *bucket) entered(ctx context.Context, d *document, e kv.Entry) (next Pin, write bool, err error) {
	me, lease, err := b.me()
	if err != nil {
		return Pin{}, false, err
	}
	fresh := Pin{Region: b.cfg.Region, Epoch: newEpoch(), Holders: []Holder{me}, Since: time.Now()}
	p, ok, err := b.pinOf(e)
	if err != nil {
		return Pin{}, false, err
	}
	if !ok {
		return fresh, true, nil
	}
	if p.Region == b.cfg.Region {
		return p.with(me), !p.has(me) || d.doubted(e.Revision), nil
	}
	// Only a node that has seen a whole lease time may say that others' leases are
	// gone: after an outage of the registry everybody's are, and the first stranger
	// must not take documents whose holders are just coming back.
	if p, state, err := b.judge(ctx, e); err != nil {
		return Pin{}, false, err
	} else if state != Orphaned || time.Since(lease.since) < b.cfg.LeaseTTL {
		return Pin{}, false, &PinnedError{d.name, p}
	}
	b.stats.takeovers.Add(1)
	return fresh, true, nil
}

// adopt makes this node a holder by word of another room.
func (b *bucket) adopt(doc docid.Document, epoch Epoch) (*Hold, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Deadline)
	defer cancel()
	d, err := b.begin(ctx, doc)
	if err != nil {
		return nil, err
	}
	defer b.end(d)
	if d.hold != nil {
		return nil, fmt.Errorf("adopt %s: %w", doc, ErrHeld)
	}
	h := b.newHold(doc, Pin{Region: b.cfg.Region, Epoch: epoch, Since: time.Now()})
	b.install(d, h)
	return h, nil
}
