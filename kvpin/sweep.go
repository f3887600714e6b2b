package kvpin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// occasion is why a region looks for pins whose holders are all gone. Together they
// have every lost lease noticed by somebody, and spare the registry the looks that
// would find nothing.
type occasion int

const (
	// some orphans were found to live on without the registry: only they are looked at
	// again, by the node that found them.
	livedOn occasion = iota
	// now and then, should all else have failed; by the node with the smallest id.
	routine
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
			b.sweepFor(routine)
			<-b.sweeper
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		o := b.occasion
		b.occasion = livedOn
		b.mu.Unlock()
		if (o == routine || o == unwatched) && !b.peers.smallest(b.cfg.Node, b.cfg.LeaseTTL) {
			o = livedOn
		}
		start := time.Now()
		err := b.sweep(ctx, o)
		b.observe("sweep", start, err)
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.Info("sweep of orphaned pins failed, trying again", "license", b.license, "error", err)
			b.sweepFor(o)
		}
	}
}

// errNotYet says that this node may not judge others' leases yet.
var errNotYet = errors.New("the node's own lease is not old enough")

func (b *bucket) sweep(ctx context.Context, o occasion) error {
	lease, ok := b.lease.current(time.Now())
	if !ok || time.Since(lease.since) < b.cfg.LeaseTTL {
		return errNotYet
	}
	if o == livedOn {
		return b.unpinOrphans(ctx, b.living)
	}
	first, err := b.sweepsFirst(ctx)
	if err != nil || !first {
		return err
	}
	orphans, outlived, err := b.lookAtPins(ctx)
	if err != nil {
		return err
	}
	if err := b.unpinOrphans(ctx, orphans); err != nil {
		return err
	}
	return b.sweepOutlived(ctx, outlived)
}

// unpinOrphans unpins those orphans that nobody in the region has open. The others
// are looked at again soon: should their nodes die, no lease will tell.
func (b *bucket) unpinOrphans(ctx context.Context, orphans []docid.Document) error {
	silent := make(map[docid.NodeID]bool)
	var living []docid.Document
	for _, doc := range orphans {
		alive, err := b.unpinOrphan(ctx, doc, silent)
		if err != nil {
			return err
		}
		if alive {
			living = append(living, doc)
		}
	}
	if b.living = living; len(living) > 0 {
		b.cfg.Log.Warn("documents live on in this region on nodes that have lost the registry", "license", b.license, "documents", len(living))
		b.sweepFor(livedOn)
	}
	return nil
}

// lookAtPins goes through all pins: those of this region whose holders seem to be
// gone, and those of any region that are there although their time is over.
func (b *bucket) lookAtPins(ctx context.Context) (orphans []docid.Document, outlived []kv.Entry, err error) {
	err = b.store.Scan(ctx, pinKeys, func(e kv.Entry) error {
		p, err := decodePin(e)
		if !e.Present || err != nil {
			return nil
		}
		doc, err := docid.ParsePinKey(b.license, e.Key)
		switch {
		case err != nil:
		case p.lasted(e, b.cfg.Grace, b.clock.now()):
			outlived = append(outlived, e)
		case len(p.Holders) == 0:
		case slices.ContainsFunc(p.Holders, func(h Holder) bool { return b.peers.current(h, b.cfg.LeaseTTL) }):
		case p.Region == b.cfg.Region:
			orphans = append(orphans, doc)
		case b.forsaken(e, p):
			outlived = append(outlived, e)
		}
		return nil
	})
	return orphans, outlived, err
}

// sweepsFirst reports whether this node is to do the sweep that several may be
// about to do. Whoever did so within the last lease time began after the loss that
// this node has waited upon since; should it have died at it, its own lease is the
// next loss.
func (b *bucket) sweepsFirst(ctx context.Context) (bool, error) {
	key := sweepPrefix + string(b.cfg.Region)
	e, err := b.get(ctx, key)
	if err != nil || e.Present && string(e.Value) != string(b.cfg.Node) && !outlived(e, b.cfg.LeaseTTL, b.clock.now()) {
		return false, err
	}
	if _, err = b.put(ctx, key, []byte(b.cfg.Node), e.Revision, b.cfg.LeaseTTL); errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// aliveTries and aliveWait are how long a node that does not answer is asked before
// it counts as dead.
const (
	aliveTries = 3
	aliveWait  = 2 * time.Second
)

// livesOn reports whether a node of this region has a document open whose leases are
// gone. Nodes that do not answer are noted in silent, and not waited for again: a
// dead node whose connection NATS has yet to miss may have held thousands.
func (b *bucket) livesOn(ctx context.Context, doc docid.Document, p Pin, silent map[docid.NodeID]bool) (bool, error) {
	if b.cfg.Alive == nil {
		return false, nil
	}
	tries := aliveTries
	if !slices.ContainsFunc(p.Holders, func(h Holder) bool { return !silent[h.Node] }) {
		tries = 0
	}
	for range tries {
		within, cancel := context.WithTimeout(ctx, aliveWait)
		alive, err := b.cfg.Alive(within, doc, p.Epoch)
		cancel()
		if !errors.Is(err, ErrSilent) {
			return alive, err
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	for _, h := range p.Holders {
		silent[h.Node] = true
	}
	return false, nil
}

// orphan reads a pin of this region whose holders' leases are all gone; the revision
// is 0 if it is none.
func (b *bucket) orphan(ctx context.Context, doc docid.Document) (p Pin, revision uint64, err error) {
	e, err := b.get(ctx, doc.PinKey())
	if err != nil {
		return Pin{}, 0, err
	}
	p, state, err := b.judge(ctx, e)
	if err != nil || state != Orphaned || p.Region != b.cfg.Region {
		return Pin{}, 0, err
	}
	return p, e.Revision, nil
}

// unpinOrphan starts the grace period of an orphan, unless a node of the region has
// it open all the same: then it is living.
func (b *bucket) unpinOrphan(ctx context.Context, doc docid.Document, silent map[docid.NodeID]bool) (living bool, err error) {
	// The turn is taken after the question: somebody may want to open the document.
	p, revision, err := b.orphan(ctx, doc)
	if err != nil || revision == 0 {
		return false, err
	}
	if alive, err := b.livesOn(ctx, doc, p, silent); err != nil || alive {
		return alive, err
	}
	d, err := b.begin(ctx, doc)
	if err != nil {
		return false, err
	}
	defer b.end(d)
	if d.hold != nil {
		return false, nil
	}
	e, err := b.readPin(ctx, d)
	if err != nil || e.Revision != revision {
		return false, err
	}
	p, err = b.writePin(ctx, d, p.without(func(Holder) bool { return true }), e.Revision, b.cfg.Grace)
	switch {
	case errors.Is(err, ErrConflict):
		return false, nil // somebody took it up
	case err != nil:
		return false, err // tried again; should the write land, it was right
	}
	b.stats.swept.Add(1)
	if b.cfg.Unpinned != nil {
		b.cfg.Unpinned(doc, p)
	}
	return false, nil
}
