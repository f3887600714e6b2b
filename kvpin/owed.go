package kvpin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// A stored life ends when its store has everything. Until then its pin is owed: without
// holders, with the backstop's expiry, which whoever tries to pay renews. So the document
// goes on in its region, however long the store is away, and nobody sees an old state.

// CanStore is in About.Can of nodes that know stored lives. A node that has a store, but
// does not know its id yet, has CanStore and no About.Store.
const CanStore = "stored-lives"

// CanKeep is in About.Can of nodes that can keep the content of what is deleted.
const CanKeep = "keep-deleted"

// AllCan reports whether each node of the region with a current lease in the registry of a
// license region has said that it can do something.
func (r *Registry) AllCan(license docid.LicenseRegion, what string) bool {
	b := r.buckets[license]
	if b == nil {
		return false
	}
	all := true
	b.leases.each(b.cfg.LeaseTTL, func(node docid.NodeID, l leaseRecord) {
		all = all && (node == b.cfg.Node || slices.Contains(l.Can, what))
	})
	return all
}

// stores reports whether lives that begin now are stored ones: every node of the region
// that has a lease has the same store, or does not know yet which one it has. While nodes
// without a store are replaced by nodes with one, lives still end with their users: the
// former could not open stored ones.
func (ps *pins) stores(ctx context.Context) (all bool, err error) {
	id := about(ps.cfg, ps.license).Store
	if id == "" || id == NoStore {
		return false, nil
	}
	select {
	case <-ps.leases.synced:
	case <-ctx.Done():
		return false, fmt.Errorf("%w: the leases of the region are not known yet: %w", ErrUnavailable, ctx.Err())
	}
	all = true
	ps.leases.each(ps.cfg.LeaseTTL, func(node docid.NodeID, l leaseRecord) {
		all = all && (node == ps.cfg.Node || l.Store == id || l.Store == "" && slices.Contains(l.Can, CanStore))
	})
	return all, nil
}

// unused reports whether a life ended before it had a user: it could not be opened. The
// pin of one whose nodes died says when that was found out.
func (p Pin) unused() bool { return len(p.Holders) == 0 && p.Left.IsZero() && !p.Owed }

// covered reports whether a life whose last holder leaves may end.
func (ps *pins) covered(ctx context.Context, doc docid.Document, p Pin) bool {
	if !docid.StoredEpoch(string(p.Epoch)) {
		return true
	}
	if ps.cfg.Covered == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline/3) // the write needs time, too
	defer cancel()
	ok, err := ps.cfg.Covered(ctx, doc, p.Epoch)
	return err == nil && ok
}

// regionAlive reports whether an owed pin's region has a node that is alive, which will
// take the document up or pay. Of other pins that is not asked.
func (ps *pins) regionAlive(ctx context.Context, p Pin, s State) (bool, error) {
	if s != Owed {
		return false, nil
	}
	found, err := ps.regions.current(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range found {
		if r.Region == p.Region && r.Status != RegionDown {
			return true, nil
		}
	}
	return false, nil
}

// debts are the owed pins of the region that this node is to see paid, as far as it knows:
// it has left them so, renewed them or told of them, and not seen since that they are not
// owed. A node that leaves with debts has the others look for owed pins.
type debts struct {
	mu   sync.Mutex
	docs map[docid.Document]struct{}
}

// note takes what a document's pin was when it was written or read last.
func (d *debts) note(doc docid.Document, owed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !owed:
		delete(d.docs, doc)
	case d.docs == nil:
		d.docs = map[docid.Document]struct{}{doc: {}}
	default:
		d.docs[doc] = struct{}{}
	}
}

func (d *debts) any() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.docs) > 0
}

// Paid ends an owed pin whose document is stored: its grace period runs. If somebody has
// taken the document up meanwhile, nothing happens.
func (r *Registry) Paid(ctx context.Context, doc docid.Document, epoch Epoch) error {
	return r.owed(ctx, doc, epoch, func(ps *pins, p Pin) (Pin, time.Duration) {
		p.Owed = false
		return p, ps.restOfGrace(p.Left)
	})
}

// StillOwed renews the expiry of an owed pin.
func (r *Registry) StillOwed(ctx context.Context, doc docid.Document, epoch Epoch) error {
	return r.owed(ctx, doc, epoch, func(ps *pins, p Pin) (Pin, time.Duration) { return p, ps.cfg.Backstop })
}

// owed writes an owed pin of an epoch anew.
func (r *Registry) owed(ctx context.Context, doc docid.Document, epoch Epoch, change func(*pins, Pin) (Pin, time.Duration)) error {
	b, err := r.bucket(doc.License)
	if err != nil {
		return err
	}
	ps := b.pins
	ctx, cancel := context.WithTimeout(ctx, ps.cfg.Deadline)
	defer cancel()
	d, err := ps.docs.begin(ctx, doc)
	if err != nil {
		return err
	}
	defer ps.docs.end(d)
	e, err := ps.readPin(ctx, d)
	if err != nil {
		return err
	}
	p, ok, err := ps.clock.pinOf(e, ps.cfg.Grace)
	if err != nil {
		return err
	}
	if !ok || !p.Owed || p.Region != ps.cfg.Region {
		ps.debts.note(doc, false)
		return nil
	}
	if d.hold != nil || p.Epoch != epoch {
		return nil
	}
	next, ttl := change(ps, p)
	_, err = ps.writePin(ctx, d, next, e.Revision, ttl)
	if errors.Is(err, ErrConflict) {
		return nil // somebody took it up
	}
	ps.docs.linger(d)
	return err
}
