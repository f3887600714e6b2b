package kvpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// validate brings a held document's pin in line with the hold, or the hold in line
// with the pin. It always reads: revisions known from under an earlier lease may be
// those of a bucket that was restored from a copy since, where other writes bear
// the same numbers.
func (ps *pins) validate(ctx context.Context, d *document) (Pin, error) {
	me, _, err := ps.lease.me()
	if err != nil {
		return Pin{}, err
	}
	for {
		e, err := ps.readPin(ctx, d)
		if err != nil {
			return Pin{}, err
		}
		p, what, write, err := ps.followed(d, e, me)
		if err != nil {
			return Pin{}, err
		}
		if what.final() {
			ps.drop(d, d.hold)
			d.news = what
			return p, nil
		}
		if write {
			p, err = ps.writePin(ctx, d, p, e.Revision, ps.cfg.Backstop)
			if errors.Is(err, ErrConflict) {
				pause.Between(ctx, 0, 5*time.Millisecond)
				continue
			}
			if err != nil {
				return Pin{}, err
			}
		}
		return p, ps.validAs(d, p, what, me)
	}
}

// followed says what becomes of a hold whose pin reads as e: the pin as it is to
// be, what Rooms is told, and whether the pin is to be written.
//   - still mine: the current lease is written in, and a mark that it moves is removed:
//     whoever goes on with a document ends its move;
//   - gone: created again with the same epoch;
//   - own region, another epoch: entered, and the room goes over to it; but if that
//     epoch began while this node had no lease, the hold is over;
//   - another region: the hold is over.
func (ps *pins) followed(d *document, e kv.Entry, me Holder) (p Pin, what news, write bool, err error) {
	mine := d.hold.Pin()
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if err != nil {
		return Pin{}, nothing, false, err
	}
	if !ok {
		return Pin{Region: ps.cfg.Region, Epoch: mine.Epoch, Holders: []Holder{me}, Since: mine.Since}, restored, true, nil
	}
	switch {
	case p.Region != ps.cfg.Region:
		return p, moved, false, nil
	case p.Epoch != mine.Epoch && ps.endedWithout(mine, p):
		return p, ended, false, nil
	case p.has(me) && p.Moving == nil && !d.mayLand(e.Revision):
	default:
		p, write = p.with(me), true
	}
	if p.Epoch != mine.Epoch {
		what = rebased
	}
	return p, what, write, nil
}

// endedWithout reports whether a life of the document ended while this node had no
// lease, so that nobody had to reckon with it, and next is a later one. A life that
// began earlier is no successor: the registry has gone back in time.
func (ps *pins) endedWithout(mine, next Pin) bool {
	for _, h := range mine.Holders {
		if h.Node == ps.cfg.Node {
			return ps.lease.ranOut(h.Lease) && !next.Since.Before(mine.Since)
		}
	}
	return true // adopted, without a lease from the beginning
}

// validAs ends a validation whose pin lists the node by the lease in me.
func (ps *pins) validAs(d *document, p Pin, what news, me Holder) error {
	d.hold.setPin(p)
	d.news = max(d.news, what)
	if lease, ok := ps.lease.current(time.Now()); !ok || lease.id != me.Lease {
		return fmt.Errorf("%w: the lease was lost while a pin was gone through", ErrUnavailable)
	}
	ps.docs.mu.Lock()
	delete(ps.docs.validating, d)
	ps.docs.mu.Unlock()
	return nil
}

// renewPins lengthens the expiry of pins that have seen no write for half of it.
// Of several holders the first to come renews for all.
func (ps *pins) renewPins(ctx context.Context) {
	every := ps.cfg.Backstop / 240
	for {
		pause.Between(ctx, every, every+every/4)
		if ctx.Err() != nil {
			return
		}
		ps.docs.oweRenewals(time.Now())
	}
}

func (h *Hold) wantsRenewal(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.renewAt)
}

// renewPin writes the pin again, unless somebody wrote it since this node last saw
// it; then it is looked at again in half the time.
func (ps *pins) renewPin(ctx context.Context, d *document) (Pin, error) {
	known := d.hold.Pin()
	e, err := ps.readPin(ctx, d)
	if err != nil {
		return Pin{}, err
	}
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if me, _, lost := ps.lease.me(); err != nil || lost != nil || !ok || p.Region != known.Region || p.Epoch != known.Epoch || !p.has(me) {
		return ps.validate(ctx, d)
	}
	d.news = max(d.news, renewed)
	if p.Revision == known.Revision {
		if p, err = ps.writePin(ctx, d, p, e.Revision, ps.cfg.Backstop); err != nil {
			return Pin{}, err
		}
		d.hold.setPin(p)
		return p, nil
	}
	d.hold.setPin(p)
	d.hold.mu.Lock()
	d.hold.renewAt = time.Now().Add(ps.cfg.Backstop / 4)
	d.hold.mu.Unlock()
	return p, nil
}
