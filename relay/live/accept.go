package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/room"
)

// ErrElsewhere: another node of the region has the document open.
var ErrElsewhere = errors.New("another node of the region has the document open")

// acceptAgain is how long a life waits that users, or another node, have taken up
// meanwhile.
const acceptAgain = 100 * time.Millisecond

// isLoss reports whether a document does not open, or is not stored, since its store has
// less than its history stands on.
func isLoss(err error) bool { return errors.Is(err, errVanished) || errors.Is(err, room.ErrBehind) }

// losses are documents of which the store has lost something, and that go on with what
// there is because an operator has said so. That holds for one document, and only while
// somebody works on what was said: whatever opens later is not taken for granted again.
type losses struct {
	docs *Documents

	mu       sync.Mutex
	accepted map[docid.Document]int // how many work on it
}

func (ls *losses) init(ds *Documents) { ls.docs, ls.accepted = ds, map[docid.Document]int{} }

// Accept goes on with what there is of a document of which the store has lost something:
// what histories of this region stand on is not to be had any more, so that it does not
// open, or is not stored. What the histories and the store hold is merged and stored. lost
// says what was accepted, nil if nothing is lost; with look nothing is.
//
// Only an operator decides that: a node does not take a store at its word that has less
// than before. What is accepted holds for one document, as long as Accept works.
func (ds *Documents) Accept(ctx context.Context, doc docid.Document, look bool) (lost, err error) {
	return ds.losses.accept(ctx, doc, look)
}

func (ls *losses) accept(ctx context.Context, doc docid.Document, look bool) (lost, err error) {
	ds := ls.docs
	if s, _ := ds.storeOf(doc.License); s == nil {
		return nil, errNoStore
	}
	if d := ds.Get(doc); d != nil {
		return ls.acceptOpen(ctx, d, look)
	}
	if _, open, err := ds.Who(ctx, doc); open {
		return nil, ErrElsewhere
	} else if err != nil && !errors.Is(err, bus.ErrNobody) {
		return nil, err
	}
	lives, err := ds.lives.of(ctx, doc)
	if err != nil {
		return nil, err
	}
	for _, l := range lives {
		err := ls.acceptLife(ctx, l)
		if isLoss(err) {
			lost = errors.Join(lost, err)
			if look {
				continue
			}
			err = ls.accepting(doc, func() error { return ls.acceptLife(ctx, l) })
		}
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// acceptOpen is for a document that is open here.
func (ls *losses) acceptOpen(ctx context.Context, d *Document, look bool) (lost, err error) {
	ds := ls.docs
	if d.keeper == nil {
		return nil, fmt.Errorf("%s: %w", d.doc, errNoStore)
	}
	if err = d.keeper.look(ctx); err == nil {
		err = ds.Save(ctx, d)
	}
	if !isLoss(err) {
		return nil, err
	}
	if look {
		return err, nil
	}
	d.room.Lost()
	return err, ds.Save(ctx, d)
}

// acceptLife stores what a life that nobody has open holds, if it can be. Users who come
// meanwhile open it in the same way.
func (ls *losses) acceptLife(ctx context.Context, l life) error {
	ds := ls.docs
	for {
		found, err := ds.lives.found(ctx, l)
		if err != nil || found.Last == 0 || found.Ended {
			return err
		}
		if _, based := found.Base(); !based {
			return nil
		}
		err = ds.payments.alone(ctx, l, found)
		switch d := ds.Get(l.doc); {
		case errors.Is(err, ErrDeleted):
			return nil
		case err == nil, !errors.Is(err, errTaken) && !errors.Is(err, errAgain):
			return err
		case d != nil && d.room.Epoch() == l.epoch:
			return ds.Save(ctx, d)
		}
		select {
		case <-time.After(acceptAgain):
		case <-ctx.Done():
			return fmt.Errorf("%s is taken up again and again: %w", l.doc, ctx.Err())
		}
	}
}

// accepting has f, and whoever opens the document meanwhile, go on with what there is.
func (ls *losses) accepting(doc docid.Document, f func() error) error {
	ls.count(doc, 1)
	defer ls.count(doc, -1)
	return f()
}

func (ls *losses) count(doc docid.Document, n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.accepted[doc] += n; ls.accepted[doc] == 0 {
		delete(ls.accepted, doc)
	}
}

// accepts reports whether the document goes on with what there is.
func (ls *losses) accepts(doc docid.Document) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.accepted[doc] > 0
}
