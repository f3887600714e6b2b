package kvpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// validateAll sends every held document through validation: the lease is new.
func (b *bucket) validateAll() {
	b.pace.restart()
	b.mu.Lock()
	for _, d := range b.docs {
		if d.hold != nil {
			b.validating[d] = struct{}{}
			d.next = time.Now()
			b.due[d] = struct{}{}
		}
	}
	b.mu.Unlock()
	signal(b.kick) // what was owed before waits for a lease as well
}

// validated reports whether every document has been gone through since the last
// lease was lost.
func (b *bucket) validated() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.validating) == 0
}

// lookAgain validates one document on somebody's notice.
func (b *bucket) lookAgain(doc docid.Document) {
	b.mu.Lock()
	d := b.docs[doc]
	if d != nil {
		d.backstop = false
	}
	b.mu.Unlock()
	if d != nil {
		b.owe(d, 0)
	}
}

// validate brings a held document's pin in line with the hold, or the hold in line
// with the pin. It always reads: revisions known from under an earlier lease may be
// those of a bucket that was restored from a copy since, where other writes bear
// the same numbers.
func (b *bucket) validate(ctx context.Context, d *document) (Pin, error) {
	me, _, err := b.me()
	if err != nil {
		return Pin{}, err
	}
	for {
		e, err := b.readPin(ctx, d)
		if err != nil {
			return Pin{}, err
		}
		p, what, write, err := b.followed(d, e, me)
		if err != nil {
			return Pin{}, err
		}
		if what.final() {
			b.drop(d, d.hold)
			d.tell = what
			return p, nil
		}
		if write {
			p, err = b.writePin(ctx, d, p, e.Revision, b.cfg.Backstop)
			if errors.Is(err, ErrConflict) {
				pause(ctx, 0, 5*time.Millisecond)
				continue
			}
			if err != nil {
				return Pin{}, err
			}
		}
		return p, b.validAs(d, p, what, me)
	}
}

// followed says what becomes of a hold whose pin reads as e: the pin as it is to
// be, what Rooms is told, and whether the pin is to be written.
//   - still mine: the current lease is written in;
//   - gone: created again with the same epoch;
//   - own region, another epoch: entered, and the room goes over to it; but if that
//     epoch began while this node had no lease, the hold is over;
//   - another region: the hold is over.
func (b *bucket) followed(d *document, e kv.Entry, me Holder) (p Pin, what news, write bool, err error) {
	mine := d.hold.Pin()
	p, ok, err := b.pinOf(e)
	if err != nil {
		return Pin{}, nothing, false, err
	}
	if !ok {
		return Pin{Region: b.cfg.Region, Epoch: mine.Epoch, Holders: []Holder{me}, Since: mine.Since}, restored, true, nil
	}
	switch {
	case p.Region != b.cfg.Region:
		return p, moved, false, nil
	case p.Epoch != mine.Epoch && b.endedWithout(mine, p):
		return p, ended, false, nil
	case p.has(me) && !d.doubted(e.Revision):
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
func (b *bucket) endedWithout(mine, next Pin) bool {
	for _, h := range mine.Holders {
		if h.Node == b.cfg.Node {
			return b.lease.ranOut(h.Lease) && !next.Since.Before(mine.Since)
		}
	}
	return true // adopted, without a lease from the beginning
}

// validAs ends a validation whose pin lists the node by the lease in me.
func (b *bucket) validAs(d *document, p Pin, what news, me Holder) error {
	d.hold.setPin(p)
	d.tell = max(d.tell, what)
	if lease, ok := b.lease.current(time.Now()); !ok || lease.id != me.Lease {
		return fmt.Errorf("%w: the lease was lost while a pin was gone through", ErrUnavailable)
	}
	b.mu.Lock()
	delete(b.validating, d)
	b.mu.Unlock()
	return nil
}

// renewPins lengthens the expiry of pins that have seen no write for half of it.
// Of several holders the first to come renews for all.
func (b *bucket) renewPins(ctx context.Context) {
	every := b.cfg.Backstop / 240
	for {
		pause(ctx, every, every+every/4)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		b.mu.Lock()
		var stale []*document
		for _, d := range b.docs {
			if _, owed := b.due[d]; !owed && d.hold != nil && d.hold.wantsRenewal(now) {
				d.backstop = true
				stale = append(stale, d)
			}
		}
		b.mu.Unlock()
		for _, d := range stale {
			b.owe(d, 0)
		}
	}
}

func (h *Hold) wantsRenewal(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.renewAt)
}

// renewPin writes the pin again, unless somebody wrote it since this node last saw
// it; then it is looked at again in half the time.
func (b *bucket) renewPin(ctx context.Context, d *document) (Pin, error) {
	known := d.hold.Pin()
	e, err := b.readPin(ctx, d)
	if err != nil {
		return Pin{}, err
	}
	p, ok, err := b.pinOf(e)
	if me, _, lost := b.me(); err != nil || lost != nil || !ok || p.Region != known.Region || p.Epoch != known.Epoch || !p.has(me) {
		return b.validate(ctx, d)
	}
	if p.Revision == known.Revision {
		if p, err = b.writePin(ctx, d, p, e.Revision, b.cfg.Backstop); err != nil {
			return Pin{}, err
		}
		d.hold.setPin(p)
		return p, nil
	}
	d.hold.setPin(p)
	d.hold.mu.Lock()
	d.hold.renewAt = time.Now().Add(b.cfg.Backstop / 4)
	d.hold.mu.Unlock()
	return p, nil
}
