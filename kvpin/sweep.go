package kvpin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// occasion is why a region looks for pins whose holders are all gone. Together they
// have every lost lease noticed by somebody, and spare the registry the looks that
// would find nothing.
type occasion int

const (
	// now and then, should all else have failed; by the node with the smallest id.
	routine occasion = iota
	// this node has not watched the leases for a while, or not before; by the node
	// with the smallest id, since the others have it, or one smaller still, to
	// watch.
	unwatched
	// this node saw a lease of the region end without a farewell; by the first of
	// those that saw it.
	leaseLost
)

// sweepFor asks for a sweep, some time from now.
func (b *bucket) sweepFor(o occasion) {
	b.mu.Lock()
	b.occasion = max(b.occasion, o)
	b.mu.Unlock()
	signal(b.sweeper)
}

// sweepOrphans looks for pins of this region whose holders are all gone, and starts
// their grace period.
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
		b.mu.Lock()
		o := b.occasion
		b.occasion = routine
		b.mu.Unlock()
		if o != leaseLost && !b.peers.smallest(b.cfg.Node, b.cfg.LeaseTTL) {
			continue
		}
		start := time.Now()
		err := b.sweep(ctx)
		b.observe("sweep", start, err)
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Info("sweep of orphaned pins failed, trying again", "license", b.license, "error", err)
			b.sweepFor(o)
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
	first, err := b.sweepsFirst(ctx)
	if err != nil || !first {
		return err
	}
	var orphans []docid.Document
	err = b.store.Scan(ctx, pinKeys, func(e entry) error {
		p, err := decodePin(e)
		if !e.Present || err != nil || p.Region != b.cfg.Region || len(p.Holders) == 0 {
			return nil
		}
		if slices.ContainsFunc(p.Holders, func(h Holder) bool { return b.peers.current(h, b.cfg.LeaseTTL) }) {
			return nil
		}
		if doc, err := docid.ParsePinKey(b.license, e.Key); err == nil {
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

// sweepsFirst reports whether this node is to do the sweep that several may be
// about to do. Whoever did so within the last lease time began after the loss that
// this node has waited upon since; should it have died at it, its own lease is the
// next loss.
func (b *bucket) sweepsFirst(ctx context.Context) (bool, error) {
	key := sweepPrefix + string(b.cfg.Region)
	e, err := b.get(ctx, key)
	if err != nil || e.Present && string(e.Value) != string(b.cfg.Node) {
		return false, err
	}
	if _, err = b.put(ctx, key, []byte(b.cfg.Node), e.Revision, b.cfg.LeaseTTL); errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// unpinOrphan starts the grace period of an orphan.
func (b *bucket) unpinOrphan(ctx context.Context, doc docid.Document) error {
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
