package kvpin

import (
	"context"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

func (b *bucket) lookup(ctx context.Context, doc docid.Document) (p Pin, s State, err error) {
	start := time.Now()
	defer func() { b.observe("lookup", start, err) }()
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	e, err := b.get(ctx, doc.PinKey())
	if err == nil {
		p, s, err = b.judge(ctx, e)
	}
	if err != nil {
		return Pin{}, Free, fmt.Errorf("look up %s: %w", doc, err)
	}
	b.hints.put(doc, e)
	return p, s, nil
}

// judge says what an entry amounts to.
func (b *bucket) judge(ctx context.Context, e kv.Entry) (Pin, State, error) {
	p, ok, err := b.pinOf(e)
	if err != nil {
		return Pin{}, Free, err
	}
	if !ok {
		return Pin{Revision: e.Revision}, Free, nil
	}
	if len(p.Holders) == 0 {
		return p, Grace, nil
	}
	// One living holder is enough, so the cheap answers come first.
	for _, h := range p.Holders {
		if b.peers.current(h, b.cfg.LeaseTTL) {
			return p, Live, nil
		}
	}
	for _, h := range p.Holders {
		alive, err := b.alive(ctx, h)
		if err != nil {
			return Pin{}, Free, err
		}
		if alive {
			return p, Live, nil
		}
	}
	return p, Orphaned, nil
}
