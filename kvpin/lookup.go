package kvpin

import (
	"context"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

func (ps *pins) lookup(ctx context.Context, doc docid.Document) (p Pin, s State, err error) {
	start := time.Now()
	defer func() { ps.requests.observe("lookup", start, err) }()
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	e, err := ps.requests.get(ctx, doc.PinKey())
	if err == nil {
		p, s, err = ps.judge(ctx, e)
	}
	if err != nil {
		return Pin{}, Free, fmt.Errorf("look up %s: %w", doc, err)
	}
	ps.hints.put(doc, e)
	if s != Owed {
		ps.debts.note(doc, false)
	}
	return p, s, nil
}

// idle is the state of a pin without holders.
func (p Pin) idle() State {
	if p.Owed {
		return Owed
	}
	return Grace
}

// judge says what an entry amounts to.
func (ps *pins) judge(ctx context.Context, e kv.Entry) (Pin, State, error) {
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if err != nil {
		return Pin{}, Free, err
	}
	if !ok {
		return Pin{Revision: e.Revision}, Free, nil
	}
	if len(p.Holders) == 0 {
		return p, p.idle(), nil
	}
	// One living holder is enough, so the cheap answers come first.
	for _, h := range p.Holders {
		if ps.leases.current(h, ps.cfg.LeaseTTL) {
			return p, Live, nil
		}
	}
	for _, h := range p.Holders {
		alive, err := ps.leases.alive(ctx, h)
		if err != nil {
			return Pin{}, Free, err
		}
		if alive {
			return p, Live, nil
		}
	}
	return p, Orphaned, nil
}
