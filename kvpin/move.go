package kvpin

import (
	"context"
	"crypto/rand"
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
	"github.com/wsnode/wsnode/kvpin/kv"
)

// A document moves to another region in two writes of its pin, by one of its holders: a
// mark that it moves, and the pin of the other region, which expects the revision of the
// mark. Between the two all holders have stopped taking edits, and the document is stored.
//
// What makes it safe is that nobody goes on without a write: a holder that has stopped
// takes edits again only after it has removed the mark, as does one that had been frozen
// and renews its lease, and whoever enters, leaves or sweeps the pin removes it as well.
// After any such write the second one of the move fails. How long a mark stands is
// therefore no matter of correctness; it says when those who wait stop waiting.

// CanMove is in About.Can of nodes that stop when a document moves. Others would go on.
const CanMove = "moves"

// arrivalTime is how long a document that was moved waits for its first user in the other
// region.
const arrivalTime = 30 * time.Second

var (
	// ErrMoving is returned by Hold and Mark for a document that is being moved. It takes
	// seconds at most.
	ErrMoving = errors.New("the document is being moved to another region")

	// ErrImmovable is wrapped by what keeps a document from being moved until somebody
	// changes it.
	ErrImmovable = errors.New("the document cannot be moved")
)

// Moving says in a pin that the document is being moved.
type Moving struct {
	To docid.Region `json:"to"`
	By docid.NodeID `json:"by"`
	// Seconds is for how long the others wait for the move.
	Seconds int64 `json:"seconds"`
}

// overdue reports whether a pin's mark has stood for its time, by the bucket's clock: the
// node that moves the document is dead or has given up.
func (c *bucketClock) overdue(e kv.Entry, p Pin) bool {
	now := c.now()
	return !now.IsZero() && now.Sub(e.Written) > time.Duration(p.Moving.Seconds)*time.Second
}

// mine reads the pin of a hold, which must be as the hold has it. The caller has the turn.
func (h *Hold) mine(ctx context.Context, d *document) (p Pin, e kv.Entry, err error) {
	me, _, err := h.ps.lease.me()
	if err == nil && d.hold == h {
		e, err = h.ps.readPin(ctx, d)
	}
	if err != nil {
		return Pin{}, e, err
	}
	p, ok, err := h.ps.clock.pinOf(e, h.ps.cfg.Grace)
	switch {
	case err != nil:
	case d.hold != h, !ok, p.Region != h.ps.cfg.Region, p.Epoch != h.Pin().Epoch, !p.has(me):
		err = fmt.Errorf("the pin of %s is another one by now: %w", h.doc, ErrConflict)
	}
	return p, e, err
}

// Mark begins to move the document: nobody enters its pin any more, for life. When the move
// is given up, and after ErrUnsettled, GoOn must be called. ErrConflict says that the pin has
// changed meanwhile.
func (h *Hold) Mark(ctx context.Context, to docid.Region, life time.Duration) (marked Pin, err error) {
	ps := h.ps
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, h.doc)
	if err != nil {
		return Pin{}, err
	}
	defer ps.docs.end(d)
	p, e, err := h.mine(ctx, d)
	if err != nil {
		return Pin{}, err
	}
	if p.Moving != nil && !ps.clock.overdue(e, p) {
		return Pin{}, ErrMoving
	}
	if err := ps.movable(ctx, p, to); err != nil {
		return Pin{}, err
	}
	p.Moving = &Moving{To: to, By: ps.cfg.Node, Seconds: int64((life + time.Second - 1) / time.Second)}
	if p, err = ps.writeAs(ctx, d, p, e.Revision, ps.cfg.Backstop); err != nil {
		return Pin{}, err
	}
	h.setPin(p)
	return p, nil
}

// Commit moves the document: its pin is the other region's, with another epoch and without
// holders. The hold is over then, as it is after Rooms.Moved, which is not called. After an
// error, GoOn tells whether it is.
func (h *Hold) Commit(ctx context.Context, marked Pin) (moved Pin, err error) {
	ps := h.ps
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, h.doc)
	if err != nil {
		return Pin{}, err
	}
	defer ps.docs.end(d)
	if _, _, err := ps.lease.me(); err != nil {
		return Pin{}, err
	}
	if d.hold != h {
		return Pin{}, fmt.Errorf("%s is not held any more: %w", h.doc, ErrConflict)
	}
	now := time.Now()
	next := Pin{Region: marked.Moving.To, Epoch: Epoch(docid.NewStoredEpoch(rand.Text()[:16])), Holders: []Holder{}, Since: now, Left: now}
	if moved, err = ps.writePin(ctx, d, next, marked.Revision, arrivalTime); err != nil {
		return Pin{}, err
	}
	ps.drop(d, h)
	return moved, nil
}

// GoOn ends a move from which this node has not come back yet: when it returns nil, either
// the pin has no mark and this node may take edits again, or the hold is over and Rooms
// was told. While it fails, nobody knows.
func (h *Hold) GoOn(ctx context.Context) error {
	ps := h.ps
	within, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(within, h.doc)
	if err != nil {
		return err
	}
	if d.hold != h {
		ps.docs.end(d)
		return nil
	}
	p, err := ps.validate(within, d)
	news := d.news
	<-d.turn
	defer ps.docs.leaveTurn(d)
	if err == nil && news != nothing {
		ps.notifyRooms(d, h, p, news)
	}
	return err
}

// movable says why a document cannot be moved to a region now.
func (ps *pins) movable(ctx context.Context, p Pin, to docid.Region) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrImmovable, fmt.Sprintf(format, args...))
	}
	store := about(ps.cfg, ps.license).Store
	switch {
	case to == ps.cfg.Region:
		return no("it lives in %s already", to)
	case store == "" || store == NoStore:
		return no("no store keeps it")
	case !docid.StoredEpoch(string(p.Epoch)):
		return no("this life of it began when not all nodes of the region had the store; it ends with its users")
	case ps.regions.isEvacuated(to):
		return no("region %s is evacuated itself", to)
	}
	for _, h := range p.Holders {
		l, alive, err := ps.leases.record(ctx, h)
		if err != nil {
			return err
		}
		if alive && h.Node != ps.cfg.Node && !slices.Contains(l.Can, CanMove) {
			return no("node %s has it open and is of a version that does not know how documents move", h.Node)
		}
	}
	takes, prefix := 0, leasePrefix+string(to)+"."
	var other, unknown docid.NodeID
	err := ps.requests.store.Scan(ctx, prefix+">", func(e kv.Entry) error {
		l, ok, err := ps.clock.leaseOf(e, ps.cfg.LeaseTTL)
		switch {
		case err != nil || !ok || l.Left:
		case l.Store == "" && slices.Contains(l.Can, CanStore):
			unknown = docid.NodeID(strings.TrimPrefix(e.Key, prefix))
		case l.Store != store:
			other = docid.NodeID(strings.TrimPrefix(e.Key, prefix))
		case !l.Draining:
			takes++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case other != "":
		return no("node %s of %s does not keep documents in the same store", other, to)
	case unknown != "":
		return fmt.Errorf("%w: node %s of %s has yet to find out which store it has", ErrUnavailable, unknown, to)
	case takes == 0:
		return no("region %s has no node that takes documents, or does not exist", to)
	}
	return nil
}

// record returns a holder's lease, as far as it is alive.
func (p *leases) record(ctx context.Context, h Holder) (l leaseRecord, alive bool, err error) {
	p.mu.Lock()
	known, ok := p.watched[h.Node]
	p.mu.Unlock()
	if ok && known.covers(h.Lease) && time.Since(known.seen) < p.cfg.LeaseTTL+time.Second {
		return known.leaseRecord, true, nil
	}
	l, err = p.readLease(ctx, h.Lease.region(), h.Node)
	return l, err == nil && l.covers(h.Lease), err
}

// moveNotice is what a notice says about a move. It is of nodes that know moves only.
type moveNotice struct {
	Move     string `json:"move,omitempty"` // stopNotice, overNotice
	Revision uint64 `json:"revision,omitempty"`
	Seconds  int64  `json:"seconds,omitempty"`
}

const (
	stopNotice = "stop"
	overNotice = "over"
	// overLife is how long it is worth telling that a move is over: those who wait for it
	// look by themselves.
	overLife = time.Minute
)

// moveKey is where a node finds the notice about a move, one for each document.
func moveKey(node docid.NodeID, pinKey string) string {
	sum := sha256.Sum256([]byte(pinKey))
	return noticePrefix + string(node) + ".move-" + hex.EncodeToString(sum[:16])
}

// StopOthers has all other holders of a marked pin stop, and waits until each has or its lease is
// gone: see Rooms.Stop.
func (r *Registry) StopOthers(ctx context.Context, doc docid.Document, marked Pin) error {
	b, err := r.bucket(doc.License)
	if err != nil {
		return err
	}
	notice := noticeRecord{
		Pin: doc.PinKey(), Epoch: marked.Epoch,
		moveNotice: moveNotice{Move: stopNotice, Revision: marked.Revision, Seconds: marked.Moving.Seconds},
	}
	var mu sync.Mutex
	var errs []error
	b.others(marked, func(h Holder) {
		err := b.notices.deliver(ctx, moveKey(h.Node, doc.PinKey()), notice, h)
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// EndMove tells the other holders of a marked pin that the move is over. Who does not hear
// it looks by itself when its time is over.
func (r *Registry) EndMove(ctx context.Context, doc docid.Document, marked Pin) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return
	}
	value, _ := json.Marshal(noticeRecord{Pin: doc.PinKey(), Epoch: marked.Epoch, moveNotice: moveNotice{Move: overNotice}}) // cannot fail
	b.others(marked, func(h Holder) {
		key := moveKey(h.Node, doc.PinKey())
		if e, err := b.requests.get(ctx, key); err == nil {
			_ = b.requests.leave(ctx, key, value, e.Revision, overLife)
		}
	})
}

// others does something for all holders but this node, beside each other.
func (b *bucket) others(p Pin, do func(Holder)) {
	var doing sync.WaitGroup
	for _, h := range p.Holders {
		if h.Node != b.cfg.Node {
			doing.Go(func() { do(h) })
		}
	}
	doing.Wait()
}

// followMove does what a notice about a move asks for. A mark that is gone was removed by
// somebody, after which the move cannot succeed: there is nothing to stop for.
func (ps *pins) followMove(ctx context.Context, rooms Rooms, n *notice) error {
	if n.move.Move != stopNotice {
		rooms.MoveOver(n.doc)
		return nil
	}
	e, err := ps.requests.get(ctx, n.doc.PinKey())
	if err != nil {
		return err
	}
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if err != nil || !ok || p.Moving == nil || p.Revision != n.move.Revision {
		return err
	}
	return rooms.Stop(ctx, n.doc, n.epoch, time.Duration(n.move.Seconds)*time.Second)
}
