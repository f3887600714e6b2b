package kvpin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
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
	// this node saw a lease of the region end without a record that its holder has
	// left, or with one by which it has left pins behind; the first node that sees it sweeps.
	leaseLost
)

// sweeper looks for pins and leases of a registry that nobody else will end: orphans of
// this region, and keys that came back after their expiry. One sweep is under way at a
// time, and only a node whose own lease has been unbroken for a lease time judges.
type sweeper struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	clock    *bucketClock
	lease    *lease
	leases   *leases
	pins     *pins
	wake     chan struct{} // asks for a sweep

	living []docid.Document // owned by run: orphans that live on without the registry
	swept  atomic.Uint64

	mu       sync.Mutex
	occasion occasion // of the next sweep
	underWay occasion // of the one that has begun, and not succeeded yet
}

// sweepRetry is how long after a sweep that failed the next one begins, and twice as long
// each time: an answer that the registry owes is no reason to have all orphans wait for
// SweepAfter again.
const sweepRetry = time.Second

// ask asks for a sweep, some time from now.
func (s *sweeper) ask(o occasion) {
	s.mu.Lock()
	s.occasion = max(s.occasion, o)
	s.mu.Unlock()
	signal(s.wake)
}

// take takes the occasion of the next sweep, which is under way until done is called.
func (s *sweeper) take() (o occasion, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay, s.occasion = s.occasion, livedOn
	return s.underWay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.underWay = livedOn
	}
}

// unfinished reports whether this node is to sweep, and no other node may know why.
func (s *sweeper) unfinished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.occasion, s.underWay) > routine
}

// run looks for pins of this region whose holders are all gone, and starts
// their grace period.
func (s *sweeper) run(ctx context.Context) {
	for {
		t := time.NewTimer(jitter(s.cfg.SweepEvery))
		select {
		case <-s.wake:
			pause.Between(ctx, s.cfg.SweepAfter, s.cfg.SweepAfter+s.cfg.SweepAfter/4)
			select {
			case <-s.wake: // what was lost meanwhile is swept along
			default:
			}
		case <-t.C:
			s.ask(routine)
			<-s.wake
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		s.untilDone(ctx)
	}
}

// untilDone sweeps, again if that fails.
func (s *sweeper) untilDone(ctx context.Context) {
	o, done := s.take()
	if (o == routine || o == unwatched) && !s.leases.smallest(s.cfg.Node, s.cfg.LeaseTTL) {
		o = livedOn
	}
	for wait := sweepRetry; ctx.Err() == nil; wait = min(2*wait, s.cfg.SweepAfter) {
		start := time.Now()
		err := s.sweep(ctx, o)
		s.requests.observe("sweep", start, err)
		if err == nil {
			done()
			return
		}
		if ctx.Err() == nil {
			s.cfg.Log.Info("sweep of orphaned pins failed, trying again", "license", s.license, "error", err)
		}
		pause.Between(ctx, wait, wait+wait/4)
	}
}

// errNotYet says that this node may not judge others' leases yet.
var errNotYet = errors.New("the node's own lease is not old enough")

func (s *sweeper) sweep(ctx context.Context, o occasion) error {
	lease, ok := s.lease.current(time.Now())
	if !ok || time.Since(lease.since) < s.cfg.LeaseTTL {
		return errNotYet
	}
	if o == livedOn {
		return s.unpinOrphans(ctx, s.living)
	}
	first, err := s.sweepsFirst(ctx)
	if err != nil || !first {
		return err
	}
	orphans, outlived, err := s.lookAtPins(ctx)
	if err != nil {
		return err
	}
	if err := s.unpinOrphans(ctx, orphans); err != nil {
		return err
	}
	if err := s.sweepOutlived(ctx, outlived); err != nil {
		return err
	}
	if o != routine && s.cfg.Swept != nil {
		s.cfg.Swept(s.license)
	}
	return nil
}

// unpinOrphans unpins those orphans that nobody in the region has open. The others
// are looked at again soon: should their nodes die, no lease will tell. One that fails
// keeps no other waiting, as long as the registry answers.
func (s *sweeper) unpinOrphans(ctx context.Context, orphans []docid.Document) error {
	silent := make(map[docid.NodeID]bool)
	var living []docid.Document
	var failed error
	for _, doc := range orphans {
		alive, err := s.unpinOrphan(ctx, doc, silent)
		if alive {
			living = append(living, doc)
		}
		if failed = cmp.Or(failed, err); err != nil && s.requests.answers.silent() != nil {
			break
		}
	}
	if failed != nil {
		return failed
	}
	if s.living = living; len(living) > 0 {
		s.cfg.Log.Warn("documents live on in this region on nodes that have lost the registry", "license", s.license, "documents", len(living))
		s.ask(livedOn)
	}
	return nil
}

// lookAtPins goes through all pins: those of this region whose holders seem to be
// gone, and those of any region that are there although their time is over.
func (s *sweeper) lookAtPins(ctx context.Context) (orphans []docid.Document, outlived []kv.Entry, err error) {
	err = s.requests.store.Scan(ctx, pinKeys, func(e kv.Entry) error {
		p, err := decodePin(e)
		if !e.Present || err != nil {
			return nil
		}
		doc, err := docid.ParsePinKey(s.license, e.Key)
		switch {
		case err != nil:
		case p.lasted(e, s.cfg.Grace, s.clock.now()):
			outlived = append(outlived, e)
		case p.Owed && p.Region == s.cfg.Region && s.cfg.Unpinned != nil: // should who owes it be gone
			s.pins.debts.note(doc, true)
			s.cfg.Unpinned(doc, p)
		case len(p.Holders) == 0:
		case slices.ContainsFunc(p.Holders, func(h Holder) bool { return s.leases.current(h, s.cfg.LeaseTTL) }):
		case p.Region == s.cfg.Region:
			orphans = append(orphans, doc)
		case s.forsaken(e, p):
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
func (s *sweeper) sweepsFirst(ctx context.Context) (bool, error) {
	key := sweepPrefix + string(s.cfg.Region)
	e, err := s.requests.get(ctx, key)
	if err != nil || e.Present && string(e.Value) != string(s.cfg.Node) && !outlived(e, s.cfg.LeaseTTL, s.clock.now()) {
		return false, err
	}
	if _, err = s.requests.put(ctx, key, []byte(s.cfg.Node), e.Revision, s.cfg.LeaseTTL); errors.Is(err, ErrConflict) {
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
func (s *sweeper) livesOn(ctx context.Context, doc docid.Document, p Pin, silent map[docid.NodeID]bool) (bool, error) {
	if s.cfg.Alive == nil {
		return false, nil
	}
	tries := aliveTries
	if !slices.ContainsFunc(p.Holders, func(h Holder) bool { return !silent[h.Node] }) {
		tries = 0
	}
	for range tries {
		within, cancel := context.WithTimeout(ctx, aliveWait)
		alive, err := s.cfg.Alive(within, doc, p.Epoch)
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
func (s *sweeper) orphan(ctx context.Context, doc docid.Document) (p Pin, revision uint64, err error) {
	e, err := s.requests.get(ctx, doc.PinKey())
	if err != nil {
		return Pin{}, 0, err
	}
	p, state, err := s.pins.judge(ctx, e)
	if err != nil || state != Orphaned || p.Region != s.cfg.Region {
		return Pin{}, 0, err
	}
	return p, e.Revision, nil
}

// unpinOrphan starts the grace period of an orphan, unless a node of the region has
// it open all the same: then it is living.
func (s *sweeper) unpinOrphan(ctx context.Context, doc docid.Document, silent map[docid.NodeID]bool) (living bool, err error) {
	// The turn is taken after the question: somebody may want to open the document.
	p, revision, err := s.orphan(ctx, doc)
	if err != nil || revision == 0 {
		return false, err
	}
	if alive, err := s.livesOn(ctx, doc, p, silent); err != nil || alive {
		return alive, err
	}
	d, err := s.pins.docs.begin(ctx, doc)
	if err != nil {
		return false, err
	}
	defer s.pins.docs.end(d)
	if d.hold != nil {
		return false, nil
	}
	e, err := s.pins.readPin(ctx, d)
	if err != nil || e.Revision != revision {
		return false, err
	}
	p, ttl := p.without(func(Holder) bool { return true }), s.cfg.Grace
	if p.Left.IsZero() {
		p.Left = time.Now()
	}
	if docid.StoredEpoch(string(p.Epoch)) { // what its nodes had stored, nobody knows yet
		p.Owed, ttl = true, s.cfg.Backstop
	}
	p, err = s.pins.writePin(ctx, d, p, e.Revision, ttl)
	switch {
	case errors.Is(err, ErrConflict):
		return false, nil // somebody took it up
	case err != nil:
		return false, err // tried again; should the write land, it was right
	}
	s.swept.Add(1)
	if s.cfg.Unpinned != nil {
		s.cfg.Unpinned(doc, p)
	}
	return false, nil
}
