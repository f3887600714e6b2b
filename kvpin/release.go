package kvpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
)

// Release takes this node out of the document's holders; lastLeft is when its last
// session ended. If it was the last holder, last is true and the pin stays for the
// rest of the grace period, counted from when the last session on any node ended, in
// whole seconds and at least one. Releasing again, or after the document has moved,
// does nothing.
//
// An error that wraps ErrUnavailable says that the release is owed: it is worked
// off in the background, and Config.Unpinned is told if the node turns out to have
// been the last.
func (h *Hold) Release(ctx context.Context, lastLeft time.Time) (last bool, err error) {
	ps := h.ps
	start := time.Now()
	defer func() { ps.requests.observe("release", start, err) }()
	h.mu.Lock()
	if h.left {
		h.mu.Unlock()
		return false, nil
	}
	h.left, h.lastLeft = true, lastLeft
	h.mu.Unlock()
	h.end()
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, h.doc)
	if err != nil {
		ps.docs.oweRelease(h)
		return false, fmt.Errorf("release %s: %w", h.doc, err)
	}
	defer ps.docs.end(d)
	switch {
	case d.hold == nil && ps.docs.owes(d): // who had the turn before found that this node has left, and could not say so
		return false, fmt.Errorf("release %s: %w", h.doc, ErrUnavailable)
	case d.hold != h:
		return false, nil
	}
	ps.drop(d, h)
	last, _, err = ps.leave(ctx, d, ps.trusted(h.Pin()))
	if err != nil {
		ps.docs.owe(d, d.backoff())
		return false, fmt.Errorf("release %s: %w", h.doc, err)
	}
	ps.docs.linger(d)
	return last, nil
}

// Void has Release remove the pin if this node was the last holder: the life is over, since
// its document was deleted, and nobody is to take it up in its grace period.
func (h *Hold) Void() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.void = true
}

// drop ends a hold. The caller has the turn.
func (ps *pins) drop(d *document, h *Hold) {
	h.end()
	h.mu.Lock()
	lastLeft, void := h.lastLeft, h.void
	h.mu.Unlock()
	ps.docs.mu.Lock()
	d.hold, d.backstop = nil, false
	delete(ps.docs.validating, d)
	ps.docs.mu.Unlock()
	d.lastLeft, d.void, d.was, d.news, d.attempts = lastLeft, void, h.Pin(), nothing, 0
}

// trusted returns a pin that was written or read under the current lease, and a
// zero one otherwise: see validate.
func (ps *pins) trusted(p Pin) Pin {
	if me, _, err := ps.lease.me(); err != nil || !p.has(me) {
		return Pin{}
	}
	return p
}

// leave takes this node out of the pin, beginning with the pin as it was last
// known; a zero revision has it read. It returns whether nobody is left, and the
// pin it left.
func (ps *pins) leave(ctx context.Context, d *document, p Pin) (last bool, left Pin, err error) {
	there := true
	read := func() error {
		e, err := ps.readPin(ctx, d)
		if err != nil {
			return err
		}
		var next Pin
		if next, there, err = ps.clock.pinOf(e, ps.cfg.Grace); there {
			p = next
		}
		return err
	}
	if p.Revision == 0 {
		if err := read(); err != nil {
			return false, Pin{}, err
		}
	}
	for {
		if !there {
			return true, p, nil
		}
		if p.Region != ps.cfg.Region || !p.lists(ps.cfg.Node) {
			return false, p, nil
		}
		next := p.without(func(h Holder) bool { return h.Node == ps.cfg.Node })
		if next, err = ps.withoutDead(ctx, d.name, next); err != nil {
			return false, Pin{}, err
		}
		if d.lastLeft.After(next.Left) {
			next.Left = d.lastLeft
		}
		next, err = ps.writeLeft(ctx, d, next, p.Revision)
		if err == nil || !errors.Is(err, ErrConflict) {
			return err == nil && len(next.Holders) == 0, next, err
		}
		pause.Between(ctx, 0, 5*time.Millisecond)
		if err := read(); err != nil {
			return false, Pin{}, err
		}
	}
}

// writeLeft writes a pin that this node has left. If nobody holds it any more, its grace
// period begins, or it is owed, or it ends.
func (ps *pins) writeLeft(ctx context.Context, d *document, next Pin, expect uint64) (Pin, error) {
	switch {
	case len(next.Holders) > 0:
	case d.void:
		return next, ps.requests.remove(ctx, d.key, expect)
	case ps.covered(ctx, d.name, next):
		return ps.writePin(ctx, d, next, expect, ps.restOfGrace(next.Left))
	default:
		next.Owed = true
	}
	return ps.writePin(ctx, d, next, expect, ps.cfg.Backstop)
}

// withoutDead leaves out holders whose leases are gone: theirs is not to keep the
// pin when the last living holder leaves. If nobody would be left, the region is
// asked whether one of them goes on without the registry; then all stay, and a sweep
// looks at them later.
func (ps *pins) withoutDead(ctx context.Context, doc docid.Document, p Pin) (Pin, error) {
	dead := make(map[Holder]bool)
	for _, h := range p.Holders {
		alive, err := ps.leases.alive(ctx, h)
		if err != nil {
			return p, err
		}
		dead[h] = !alive
	}
	living := p.without(func(h Holder) bool { return dead[h] })
	if len(living.Holders) > 0 || len(p.Holders) == 0 || ps.cfg.Alive == nil {
		return living, nil
	}
	within, cancel := context.WithTimeout(ctx, ps.cfg.Deadline/3) // the write needs time, too
	defer cancel()
	alive, err := ps.cfg.Alive(within, doc, p.Epoch)
	if err != nil || alive {
		ps.sweep(leaseLost)
		return p, nil
	}
	return living, nil
}

// restOfGrace is what is left of the grace period, in the whole seconds that the
// server counts in. A claim that no session ever used has none; one that was made in
// a grace period leaves the rest of that.
func (ps *pins) restOfGrace(lastLeft time.Time) time.Duration {
	if lastLeft.IsZero() {
		return time.Second
	}
	// Never more than the whole: the clock of the node that left may be ahead.
	rest := min(ps.cfg.Grace-time.Since(lastLeft), ps.cfg.Grace)
	return max((rest + time.Second - 1).Truncate(time.Second), time.Second)
}
