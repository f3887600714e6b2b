package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
)

// sweep looks for the histories of documents that nobody owes any more, because
// the nodes that should have removed them crashed. What it finds is owed,
// and whoever works that off looks again: so a history is removed only if its
// document was gone twice, some time apart.
//
// The nodes of a region take turns: who has swept says so, and the others put
// their own sweeps off. Nothing depends on it, since a sweep may be repeated. Who
// could not sweep to the end, or left lives to nodes that have their store, says nothing,
// so that another node tries. When a node has died, or ended before it was done, the one that
// unpins its orphans looks at once: what the former was about to remove is known to nobody.
type sweep struct {
	docs  *Documents
	every time.Duration
	swept chan struct{}            // another node has
	died  chan docid.LicenseRegion // whose registry has missed a node
	left  bool                     // to nodes that have the store, by the last look; owned by run
	// again is how long looks wait that are repeated, since a node died and the last one failed;
	// owned by run.
	again map[docid.LicenseRegion]time.Duration
}

const (
	// sweptSubject is where a node says that it has looked at all histories.
	sweptSubject = "wsn.swept"
	// maxFound bounds what one sweep finds; the next finds the rest.
	maxFound = 10_000
	// maxDied is how many looks may wait because a node died; the routine one finds the rest.
	maxDied = 64
)

func (s *sweep) init(ds *Documents) {
	s.docs, s.every = ds, ds.o.SweepEvery
	s.swept, s.died = make(chan struct{}, 1), make(chan docid.LicenseRegion, maxDied)
	s.again = map[docid.LicenseRegion]time.Duration{}
}

// soon has the histories of a license region looked at.
func (s *sweep) soon(license docid.LicenseRegion) {
	select {
	case s.died <- license:
	default:
	}
}

// confirmAfter is the time between the two looks.
func (s *sweep) confirmAfter() time.Duration { return s.every / 20 }

func (s *sweep) run(ctx context.Context) {
	sub, err := s.docs.o.Bus.Subscribe(sweptSubject, s)
	if err != nil {
		s.docs.o.Log.Warn("the other nodes' sweeps are not heard; this node sweeps more often than need be", "err", err)
	} else {
		defer sub.Unsubscribe()
	}
	// A region that starts as a whole does not sweep as one.
	timer := time.NewTimer(jitter(s.every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.swept:
			timer.Reset(s.every + jitter(s.every))
		case license := <-s.died:
			s.lookForDead(ctx, license)
		case <-timer.C:
			if err := s.look(ctx, ""); err != nil {
				timer.Reset(s.every + jitter(s.every)) // another node may be able to
				continue
			}
			if !s.left {
				_ = s.docs.o.Bus.Publish(sweptSubject, nil) // else the others sweep too
			}
			timer.Reset(s.every + jitter(s.every/10))
		}
	}
}

// lookForDead looks at the histories of a license region because a node has died, and has that
// repeated if it fails: no other node looks.
func (s *sweep) lookForDead(ctx context.Context, license docid.LicenseRegion) {
	if s.look(ctx, license) == nil {
		delete(s.again, license)
		return
	}
	s.again[license] = min(max(2*s.again[license], s.confirmAfter()), s.every)
	time.AfterFunc(s.again[license], func() { s.soon(license) })
}

func jitter(most time.Duration) time.Duration { return rand.N(max(most, 1)) }

// Receive takes another node's word that it has swept.
func (s *sweep) Receive(_, _ string, _ []byte) {
	select {
	case s.swept <- struct{}{}:
	default:
	}
}

// look goes through all histories once, or those of one license region. A document that is live
// in this region costs a question to its room at most; only for the others is the registry read.
func (s *sweep) look(ctx context.Context, license docid.LicenseRegion) error {
	ds := s.docs
	found, err := s.suspects(ctx, license, ds.o.History.Subjects(ctx, ""), func(l life, _ history.Subject) (bool, error) {
		gone, err := ds.purges.gone(ctx, l)
		if errors.Is(err, errNoWord) {
			return false, nil // perhaps of a node that NATS has yet to find dead
		}
		return gone, err
	})
	if found > 0 {
		ds.o.Log.Info("found histories that nobody removed", "documents", found)
	}
	err = errors.Join(err, s.lookAtStored(ctx, license))
	if err != nil && ctx.Err() == nil {
		ds.o.Log.Warn("the sweep of the history was broken off; the next goes on", "err", err)
	}
	return err
}

// suspects goes through histories of which no room of the region is heard, and has those
// looked at again later that left says somebody may have left behind. Of a license region
// for which left fails no more are looked at, and of others all: each has its own registry.
func (s *sweep) suspects(ctx context.Context, license docid.LicenseRegion, all iter.Seq2[history.Subject, error], left func(life, history.Subject) (bool, error)) (found int, err error) {
	ds := s.docs
	failed := map[docid.LicenseRegion]error{}
	for subject, listed := range all {
		if errors.Is(listed, history.ErrStreamMissing) {
			continue // there is nothing in it; others have theirs
		}
		if listed != nil {
			return found, errors.Join(err, listed)
		}
		doc, epoch, unknown := docid.ParseUpdatesSubject(subject.Name)
		if license != "" && doc.License != license {
			continue
		}
		if unknown != nil || failed[doc.License] != nil || !ds.o.Registry.Serves(doc.License) {
			continue
		}
		if live, ok, _ := ds.Who(ctx, doc); ok && live == epoch {
			continue
		}
		l := life{doc, epoch}
		suspect, why := left(l, subject)
		if why != nil {
			failed[doc.License] = why
			err = errors.Join(err, fmt.Errorf("%s: %w", doc.License, why))
			continue
		}
		if !suspect || !ds.purges.suspect(l, time.Now().Add(s.confirmAfter())) {
			continue
		}
		if found++; found == maxFound {
			break
		}
	}
	return found, err
}

// lookAtStored goes through the histories of stored lives: a crash may have left some
// that nobody has open.
func (s *sweep) lookAtStored(ctx context.Context, license docid.LicenseRegion) error {
	ds := s.docs
	s.left = false
	_, err := s.suspects(ctx, license, ds.o.History.StoredSubjects(ctx, ""), func(l life, subject history.Subject) (bool, error) {
		if store, _ := ds.storeOf(l.doc.License); store == nil {
			s.left = true
			return false, nil // a node without the store purges nothing
		}
		if subject.Messages > 1 {
			return true, nil
		}
		left, err := ds.lives.found(ctx, l)
		return err != nil || !left.Ended, nil // what cannot be read is read again by then
	})
	return err
}
