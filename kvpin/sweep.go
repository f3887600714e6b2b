package kvpin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/relay/docname"
)

// sweepOrphans looks for pins of this region whose holders are all gone: some time
// after a lease of the region was lost, and now and then without a cause. Of the
// region's nodes the one with the smallest id does it; should two think so, the
// compare-and-swap keeps them apart.
func (b *bucket) sweepOrphans(ctx context.Context) {
	for {
		t := time.NewTimer(jitter(b.cfg.SweepEvery))
		select {
		case <-b.sweeper:
			pause(ctx, b.cfg.SweepAfter, b.cfg.SweepAfter+b.cfg.SweepAfter/4)
			select {
			case <-b.sweeper: // what was lost meanwhile is swept along
			default:
			}
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		err := b.sweep(ctx)
		b.observe("sweep", start, err)
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("sweep of orphaned pins failed, trying again", "license", b.license, "error", err)
			signal(b.sweeper)
		}
	}
}

// errNotYet says that this node may not judge others' leases yet.
var errNotYet = errors.New("the node's own lease is not old enough")

func (b *bucket) sweep(ctx context.Context) error {
	lease, ok := b.lease.current(time.Now())
	if !ok || time.Since(lease.since) < b.cfg.LeaseTTL {
		return errNotYet
	}
	if !b.peers.smallest(b.cfg.Node, b.cfg.LeaseTTL) {
		return nil
	}
	var orphans []docname.Document
	err := b.store.Scan(ctx, pinKeys, func(e entry) error {
		p, err := decodePin(e)
		if !e.Present || err != nil || p.Region != b.cfg.Region || len(p.Holders) == 0 {
			return nil
		}
		if slices.ContainsFunc(p.Holders, func(h Holder) bool { return b.peers.current(h, b.cfg.LeaseTTL) }) {
			return nil
		}
		if doc, err := docname.ParsePinKey(b.license, strings.Clone(e.Key)); err == nil {
			orphans = append(orphans, doc)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, doc := range orphans {
		if err := b.unpinOrphan(ctx, doc); err != nil {
			return err
		}
	}
	return nil
}

// unpinOrphan starts the grace period of an orphan.
func (b *bucket) unpinOrphan(ctx context.Context, doc docname.Document) error {
	d, err := b.begin(ctx, doc)
	if err != nil {
		return err
	}
	defer b.end(d)
	if d.hold != nil {
		return nil
	}
	e, err := b.readPin(ctx, d)
	if err != nil {
		return err
	}
	p, state, err := b.judge(ctx, e)
	if err != nil || state != Orphaned || p.Region != b.cfg.Region {
		return err
	}
	p, err = b.writePin(ctx, d, p.without(func(Holder) bool { return true }), e.Revision, b.cfg.Grace)
	switch {
	case errors.Is(err, ErrConflict):
		return nil // somebody took it up
	case err != nil:
		return err // tried again; should the write land, it was right
	}
	b.stats.swept.Add(1)
	if b.cfg.Unpinned != nil {
		b.cfg.Unpinned(doc, p)
	}
	return nil
}
