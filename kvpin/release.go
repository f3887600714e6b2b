package kvpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
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
	b := h.b
	start := time.Now()
	defer func() { b.observe("release", start, err) }()
	h.mu.Lock()
	if h.left {
		h.mu.Unlock()
		return false, nil
	}
	h.left, h.lastLeft = true, lastLeft
	h.mu.Unlock()
	h.end()
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	d, err := b.begin(ctx, h.doc)
	if err != nil {
		b.oweRelease(h)
		return false, fmt.Errorf("release %s: %w", h.doc, err)
	}
	defer b.end(d)
	if d.hold != h {
		return false, nil
	}
	b.drop(d, h)
	last, _, err = b.leave(ctx, d, b.trusted(h.Pin()))
	if err != nil {
		b.owe(d, d.backoff())
		return false, fmt.Errorf("release %s: %w", h.doc, err)
	}
	b.linger(d)
	return last, nil
}

// oweRelease has a release made by the debts whose turn did not come.
func (b *bucket) oweRelease(h *Hold) {
	b.mu.Lock()
	d := b.docs[h.doc]
	b.mu.Unlock()
	if d != nil {
		b.owe(d, 0)
	}
}

// drop ends a hold. The caller has the turn.
func (b *bucket) drop(d *document, h *Hold) {
	h.end()
	h.mu.Lock()
	lastLeft := h.lastLeft
	h.mu.Unlock()
	b.mu.Lock()
	d.hold, d.backstop = nil, false
	delete(b.validating, d)
	b.mu.Unlock()
	d.lastLeft, d.was, d.tell, d.attempts = lastLeft, h.Pin(), nothing, 0
}

// trusted returns a pin that was written or read under the current lease, and a
// zero one otherwise: see validate.
func (b *bucket) trusted(p Pin) Pin {
	if me, _, err := b.me(); err != nil || !p.has(me) {
		return Pin{}
	}
	return p
}

// leave takes this node out of the pin, beginning with the pin as it was last
// known; a zero revision has it read. It returns whether nobody is left, and the
// pin it left.
func (b *bucket) leave(ctx context.Context, d *document, p Pin) (last bool, left Pin, err error) {
	there := true
	read := func() error {
		e, err := b.readPin(ctx, d)
		if err != nil {
			return err
		}
		var next Pin
		if next, there, err = b.pinOf(e); there {
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
		if p.Region != b.cfg.Region || !p.lists(b.cfg.Node) {
			return false, p, nil
		}
		next := p.without(func(h Holder) bool { return h.Node == b.cfg.Node })
		if next, err = b.withoutDead(ctx, d.name, next); err != nil {
			return false, Pin{}, err
		}
		if d.lastLeft.After(next.Left) {
			next.Left = d.lastLeft
		}
		ttl := b.cfg.Backstop
		if len(next.Holders) == 0 {
			ttl = b.restOfGrace(next.Left)
		}
		next, err = b.writePin(ctx, d, next, p.Revision, ttl)
		if err == nil || !errors.Is(err, ErrConflict) {
			return err == nil && len(next.Holders) == 0, next, err
		}
		pause(ctx, 0, 5*time.Millisecond)
		if err := read(); err != nil {
			return false, Pin{}, err
		}
	}
}

// withoutDead leaves out holders whose leases are gone: theirs is not to keep the
// pin when the last living holder leaves. If nobody would be left, the region is
// asked whether one of them goes on without the registry; then all stay, and a sweep
// looks at them later.
func (b *bucket) withoutDead(ctx context.Context, doc docid.Document, p Pin) (Pin, error) {
	dead := make(map[Holder]bool)
	for _, h := range p.Holders {
		alive, err := b.alive(ctx, h)
		if err != nil {
			return p, err
		}
		dead[h] = !alive
	}
	living := p.without(func(h Holder) bool { return dead[h] })
	if len(living.Holders) > 0 || len(p.Holders) == 0 || b.cfg.Alive == nil {
		return living, nil
	}
	within, cancel := context.WithTimeout(ctx, b.cfg.Deadline/3) // the write needs time, too
	defer cancel()
	alive, err := b.cfg.Alive(within, doc, p.Epoch)
	if err != nil || alive {
		b.sweepFor(leaseLost)
		return p, nil
	}
	return living, nil
}

// restOfGrace is what is left of the grace period, in the whole seconds that the
// server counts in. A claim that no session ever used has none; one that was made in
// a grace period leaves the rest of that.
func (b *bucket) restOfGrace(lastLeft time.Time) time.Duration {
	if lastLeft.IsZero() {
		return time.Second
	}
	// Never more than the whole: the clock of the node that left may be ahead.
	rest := min(b.cfg.Grace-time.Since(lastLeft), b.cfg.Grace)
	return max((rest + time.Second - 1).Truncate(time.Second), time.Second)
}
