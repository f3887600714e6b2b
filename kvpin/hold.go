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
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Hold is this node's place among the holders of a document, from Hold or Adopt
// until Release, or until the document has moved. Its methods may be called
// concurrently.
type Hold struct {
	ps  *pins
	doc docid.Document
	ctx context.Context // ends with the hold; for Rooms
	end context.CancelFunc

	mu       sync.Mutex
	pin      Pin
	renewAt  time.Time // when the pin's expiry wants renewing
	left     bool      // Release was called
	lastLeft time.Time
	void     bool // see Void
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
	half := h.ps.cfg.Backstop / 2
	h.renewAt = time.Now().Add(half*3/4 + mathrand.N(half/4))
}

func (ps *pins) newHold(doc docid.Document, p Pin) *Hold {
	h := &Hold{ps: ps, doc: doc}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.setPin(p)
	return h
}

// newEpoch draws the epoch of a life that begins.
func (ps *pins) newEpoch(ctx context.Context) (Epoch, error) {
	random := rand.Text()[:16]
	stored, err := ps.stores(ctx)
	if stored {
		random = docid.NewStoredEpoch(random)
	}
	return Epoch(random), err
}

func isUnsettled(err error) bool { return errors.Is(err, ErrUnsettled) }

// claim makes this node a holder of the document.
func (ps *pins) claim(ctx context.Context, doc docid.Document) (h *Hold, err error) {
	op, start := "hold", time.Now()
	defer func() { ps.requests.observe(op, start, err) }()
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, doc)
	if err != nil {
		return nil, err
	}
	defer ps.docs.end(d)
	if d.hold != nil {
		return nil, fmt.Errorf("hold %s: %w", doc, ErrHeld)
	}
	p, err := ps.enter(ctx, d)
	if err != nil {
		d.lastLeft, d.void, d.was = time.Time{}, false, Pin{}
		ps.docs.linger(d)
		var pinned *PinnedError
		if errors.As(err, &pinned) {
			return nil, err
		}
		return nil, fmt.Errorf("hold %s: %w", doc, err)
	}
	h = ps.newHold(doc, p)
	ps.install(d, h)
	return h, nil
}

// install makes h the document's hold. A lease that was lost since the pin was
// written sends the document through validation.
func (ps *pins) install(d *document, h *Hold) {
	ps.docs.mu.Lock()
	d.hold, d.backstop = h, false
	ps.docs.mu.Unlock()
	d.attempts, d.news = 0, nothing
	for _, holder := range h.pin.Holders {
		if lease, ok := ps.lease.current(time.Now()); holder.Node == ps.cfg.Node && ok && holder.Lease == lease.id {
			return
		}
	}
	ps.docs.mu.Lock()
	ps.docs.validating[d] = struct{}{}
	ps.docs.mu.Unlock()
	ps.docs.owe(d, 0)
}

// enter writes this node into the document's pin until it is there, or the pin
// turns out to be another region's. It begins with what a look up has just read,
// else with the guess that there is no pin, which saves most documents a request;
// only a write proves either right.
func (ps *pins) enter(ctx context.Context, d *document) (Pin, error) {
	e, hinted := ps.hints.take(d.name)
	hinted = hinted || len(d.unsettled) == 0
	moving := false
	for {
		if !hinted {
			var err error
			if e, err = ps.readPin(ctx, d); err != nil && moving {
				return Pin{}, ErrMoving // the time is over, and it was when it was read last
			} else if err != nil {
				return Pin{}, err
			}
		}
		next, write, err := ps.entered(ctx, d, e)
		if moving = errors.Is(err, ErrMoving); moving && ctx.Err() == nil {
			pause.Between(ctx, 20*time.Millisecond, 50*time.Millisecond)
			hinted = false
			continue
		}
		if hinted && errors.Is(err, ErrEvacuated) { // it may live here all the same
			hinted = false
			continue
		}
		if err != nil {
			return Pin{}, err
		}
		if write {
			p, err := ps.writePin(ctx, d, next, e.Revision, ps.cfg.Backstop)
			if !errors.Is(err, ErrConflict) {
				return p, err
			}
			if !hinted {
				pause.Between(ctx, 0, 5*time.Millisecond)
			}
		} else if !hinted {
			return next, nil
		}
		hinted = false
	}
}

// entered returns the pin with this node in it, and whether it is to be written.
func (ps *pins) entered(ctx context.Context, d *document, e kv.Entry) (next Pin, write bool, err error) {
	me, lease, err := ps.lease.me()
	if err != nil {
		return Pin{}, false, err
	}
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if err != nil {
		return Pin{}, false, err
	}
	if !ok {
		fresh, err := ps.begun(ctx, me)
		return fresh, true, err
	}
	switch {
	case p.unused(): // begun anew: since then the region may have got a store, or been evacuated
		fresh, err := ps.begun(ctx, me)
		return fresh, true, err
	case p.Region == ps.cfg.Region && p.Moving != nil && !ps.clock.overdue(e, p):
		return Pin{}, false, ErrMoving
	case p.Region == ps.cfg.Region:
		return p.with(me), !p.has(me) || d.mayLand(e.Revision), nil
	}
	// Only a node that has seen a whole lease time may say that others' leases are
	// gone: after an outage of the registry all of them are, and another region must not
	// take documents whose holders are about to renew theirs.
	if p, state, err := ps.judge(ctx, e); err != nil {
		return Pin{}, false, err
	} else if state != Orphaned && state != Owed || time.Since(lease.since) < ps.cfg.LeaseTTL {
		return Pin{}, false, &PinnedError{d.name, p}
	} else if alive, err := ps.regionAlive(ctx, p, state); err != nil {
		return Pin{}, false, err
	} else if alive {
		return Pin{}, false, &PinnedError{d.name, p}
	}
	fresh, err := ps.begun(ctx, me)
	if err != nil {
		return Pin{}, false, err
	}
	ps.takeovers.Add(1)
	return fresh, true, nil
}

// begun is the pin of a life that begins on this node.
func (ps *pins) begun(ctx context.Context, me Holder) (Pin, error) {
	epoch, err := ps.newEpoch(ctx)
	if err == nil && ps.regions.isEvacuated(ps.cfg.Region) {
		err = ErrEvacuated
	}
	return Pin{Region: ps.cfg.Region, Epoch: epoch, Holders: []Holder{me}, Since: time.Now()}, err
}

// adopt makes this node a holder by word of another room.
func (ps *pins) adopt(doc docid.Document, epoch Epoch) (*Hold, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, doc)
	if err != nil {
		return nil, err
	}
	defer ps.docs.end(d)
	if d.hold != nil {
		return nil, fmt.Errorf("adopt %s: %w", doc, ErrHeld)
	}
	h := ps.newHold(doc, Pin{Region: ps.cfg.Region, Epoch: epoch, Since: time.Now()})
	ps.install(d, h)
	return h, nil
}
