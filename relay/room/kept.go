package room

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Kept is for a document that a store keeps when its life ends: a stored life. The room
// knows no store, but what is in it: which base its history stands on, and what has
// changed since.
type Kept struct {
	// Begun reports whether the history of the epoch that is opened holds anything, as
	// History.Last does; it is asked only when an epoch has only just been created, before
	// Base. Nil: Last is asked.
	Begun func(ctx context.Context) (bool, error)
	// Base brings what the document held before its history began. It is told what the
	// history holds, and it alone decides what an empty one means. An error fails the
	// opening. It may be called again, and by a room that goes over to another epoch.
	Base func(ctx context.Context, found oplog.Loaded) (Brought, error)
	// Changed is told that the history gets what the store does not have: once, until
	// Draft or Stored has found that the store has everything. It is called under the
	// room's lock: it must neither block nor call the room.
	Changed func()
	// Awaited is told, in the same way, when a client begins to wait for the store, and
	// when none does any more. Marked is told while one does: the room of another pod
	// has said that it stored. Nil disables it.
	Awaited func(bool)
	Marked  func()
	// Unfinished is since when messages of the history are known that lack parts, by a former
	// room: see Room.Unfinished. Nil: of none.
	Unfinished map[oplog.Key]time.Time
}

// Brought is what a store held: the update is nil for nothing, or if the history holds
// it as well. Less says that it may be less than the history stands on: an operator has
// accepted that.
type Brought struct {
	Base   oplog.Base
	Update []byte
	Less   bool
}

const (
	// InlineBytes is the largest document whose content is in its history. A larger one
	// is there as a reference to the store, and what was edited since.
	InlineBytes = 4 << 20
	// maxCovers bounds the state vector that a base carries.
	maxCovers = 16 << 10
	// standTries bounds how often a room reads on when others append before its seed.
	standTries = 10
)

// ErrBehind: the store brought less than the history says that it holds.
var ErrBehind = errors.New("the store holds an older state of the document than its history stands on")

// stand takes what lies before the history. If the history does not say on which base it
// stands, the room says so in a seed, which must be the next message: of rooms that open
// at the same moment one writes it, and what came before it is merged.
func (r *Room) stand(ctx context.Context, subject string, found oplog.Loaded) error {
	for try := 1; ; try++ {
		brought, err := r.kept.Base(ctx, found)
		if err != nil {
			return err
		}
		if err := r.takeBase(found, brought); err != nil {
			return err
		}
		if _, has := found.Base(); has {
			return nil
		}
		err = r.seed(ctx, subject, found)
		if !errors.Is(err, history.ErrOutrun) || try == standTries {
			return err
		}
		if found, _, err = r.backlog.read(ctx, subject); err != nil {
			return err
		}
	}
}

func (r *Room) takeBase(found oplog.Loaded, brought Brought) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	alone := len(r.content.store.StateVector()) == 1
	if brought.Base.KeepDeleted {
		r.content.keep()
	}
	if brought.Update != nil {
		if _, err := r.load(brought.Update, ystore.Terms{Given: true}); err != nil {
			return fmt.Errorf("what lay before the history: %w", err)
		}
	}
	known := r.content.store.StateVector()
	if covers := brought.Base.Covers; covers != nil {
		lacks, _, err := compare(known, covers)
		if err != nil {
			return err
		}
		if lacks && !brought.Less {
			return ErrBehind
		}
	} else if _, has := found.Base(); !has && alone && len(known) <= maxCovers {
		brought.Base.Covers = known
	}
	r.storing.begin(brought, found)
	return nil
}

// seed says in the history on what base it stands.
func (r *Room) seed(ctx context.Context, subject string, found oplog.Loaded) error {
	r.mu.Lock()
	r.log.counter++
	data := oplog.Kept.Append(nil, r.id, oplog.Seed, r.log.counter, oplog.AppendBase(nil, r.storing.base))
	r.mu.Unlock()
	seq, err := r.rooms.cfg.History.AppendAfter(ctx, subject, data, found.Last, 0)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storing.seeded(seq, found)
	return nil
}

// Lost is told that the store has nothing of the document any more, and that the room is
// to write what it holds.
func (r *Room) Lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storing.gone()
}

// Draft is what a store is to keep.
type Draft struct {
	Body []byte     // the whole document as one Yjs update, which must not be changed
	Base oplog.Base // whose body it contains: the store is expected to have its version

	upTo    uint64 // of the history
	covers  []byte
	changes uint64
	taken   uint64 // the number up to which the body holds what the room took
	life    uint64
	subject string
	memory  *bodies // to which the body's goes back; nil: it is shared
}

// Free gives the memory of the body back, which nobody uses any more.
func (d *Draft) Free() {
	if d.memory != nil {
		d.memory.put(d.Body)
	}
	d.Body, d.memory = nil, nil
}

// bodies are former bodies of drafts, whose memory others get: documents that are stored
// again and again would have as much cleared away each time.
type bodies struct{ pool sync.Pool }

func (b *bodies) get() []byte {
	if body, ok := b.pool.Get().(*[]byte); ok {
		return *body
	}
	return []byte{}
}

// put takes a body. One that few others need so much memory for is left to the collector.
func (b *bodies) put(body []byte) {
	if cap(body) <= InlineBytes {
		body = body[:0]
		b.pool.Put(&body)
	}
}

// errLost ends the storing of a document whose history was lost, or left, meanwhile.
var errLost = errors.New("the document's history is another one than when it was read")

// Draft reads the history on, from where the room has read it before, and makes of it, and of
// what the room holds, what a store is to keep: a body on the version of the last base up to
// where that reading ended, which it contains. clean says that the store has everything; then
// there is no draft.
func (r *Room) Draft(ctx context.Context) (d Draft, clean bool, err error) {
	r.mu.Lock()
	r.holds.release()
	d.changes, d.life, d.subject = r.storing.changes, r.log.water.life, r.at.updates
	pending, durable := r.log.water.own() < r.log.water.taken, r.asks.durable()
	r.mu.Unlock()
	found, covered, err := r.backlog.read(ctx, d.subject)
	if err != nil {
		return Draft{}, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return Draft{}, false, ErrClosed
	}
	if !r.same(d) {
		return Draft{}, false, errLost
	}
	if found.Clean() && !pending && !r.storing.lost {
		r.storing.clean(found.Last, d.changes)
		if found.Last > 0 { // else the history was lost
			r.asks.hasStored(durable)
		}
		return Draft{}, true, nil
	}
	d.upTo = covered
	r.fill(&d)
	return d, false, nil
}

// same reports whether the history is still the one that a draft was read from. Callers
// hold mu.
func (r *Room) same(d Draft) bool { return r.at.updates == d.subject && r.log.water.life == d.life }

// fill makes the body of a draft. Callers hold mu.
func (r *Room) fill(d *Draft) {
	d.Base, d.covers, d.taken, d.memory = r.storing.base, nil, r.log.water.taken, nil
	var shared bool
	if d.Body, shared = r.content.stateOf(&r.rooms.bodies); !shared {
		d.memory = &r.rooms.bodies
	}
	if sv := r.content.store.StateVector(); len(sv) <= maxCovers {
		d.covers = sv
	}
}

// Merge takes what the store holds besides: another region's edits, say. Members see it,
// and the history gets it. It returns the draft anew; base is what the store holds now.
func (r *Room) Merge(d Draft, base oplog.Base, update []byte) (Draft, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.same(d) {
		return Draft{}, errLost
	}
	if err := r.takeStored(base, update); err != nil {
		return Draft{}, err
	}
	r.fill(&d)
	return d, nil
}

// Take takes what the store holds besides, as Merge does: somebody has stored what the
// room does not have. If the room has more, that is to be stored: a store may have been
// set back to a former state while nobody edits, and the history says that it has all.
func (r *Room) Take(base oplog.Base, update []byte) error {
	stored := ystore.New(r.rooms.cfg.Limits)
	if _, _, err := stored.ApplyShared(update, ystore.Terms{}); err != nil {
		return fmt.Errorf("what the store holds: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if err := r.takeStored(base, update); err != nil {
		return err
	}
	if r.content.store.Differs(stored) { // the store was set back to a former state
		r.storing.lessStored()
	}
	return nil
}

// takeStored merges a body of the store, which the room stands on from then on. Callers
// hold mu.
func (r *Room) takeStored(base oplog.Base, update []byte) error {
	begins := base.KeepDeleted && !r.content.store.Keeps()
	if begins {
		r.content.keep()
	}
	changes, err := r.apply(update, nil, ystore.Terms{})
	if err != nil {
		return fmt.Errorf("merge what the store holds: %w", err)
	}
	if changes != nil {
		r.log.take(changes, true)
	}
	r.storing.standOn(base)
	if begins { // what the history holds so far, others read as it was: a snapshot says what is kept
		r.log.owe()
		r.out.schedule(true)
	}
	return nil
}

// Stored says in the history that the store has what a draft holds, as version. All
// that the draft held is acknowledged by the history before: should this room vanish, the
// next one must not take the version for one whose body it contains.
func (r *Room) Stored(ctx context.Context, d Draft, version string) error {
	if err := r.acknowledged(ctx); err != nil {
		return err
	}
	base := d.Base
	base.Version, base.Covers = version, d.covers
	r.mu.Lock()
	purges := r.content.store.Stats().Bytes > InlineBytes
	body := oplog.AppendMark(nil, oplog.Mark{UpTo: d.upTo, Purges: purges, Base: base})
	flight := r.log.water.launch(span{})
	same, closed := r.same(d), r.closed
	r.mu.Unlock()
	if !same || closed {
		return errLost
	}
	type outcome struct {
		seq uint64
		err error
	}
	got := make(chan outcome, 1)
	r.log.append(oplog.Stored, body, flight, func(seq uint64, err error) { got <- outcome{seq, err} })
	select {
	case o := <-got:
		if o.err != nil {
			return fmt.Errorf("append to %s that it is stored: %w", r.doc, o.err)
		}
		r.marked(d, base, o.seq, purges)
	case <-ctx.Done():
		return fmt.Errorf("append to %s that it is stored: %w", r.doc, ctx.Err())
	}
	if !purges {
		return nil
	}
	return r.rooms.cfg.History.PurgeBelow(ctx, d.subject, d.upTo+1)
}

func (r *Room) marked(d Draft, base oplog.Base, seq uint64, purges bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.same(d) {
		return
	}
	r.storing.marked(d, base, seq)
	r.asks.hasStored(d.taken)
	if purges {
		r.backlog.contained = contained{} // what was read last is purged
	}
}

// acknowledged waits until the history has everything that the room holds, whoever wrote
// it.
func (r *Room) acknowledged(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	done := make(chan struct{})
	r.asks.add(ask{done: done})
	r.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asks.open = slices.DeleteFunc(r.asks.open, func(a ask) bool { return a.done == done })
		return fmt.Errorf("what is to be stored of %s is not in the history: %w", r.doc, ctx.Err())
	}
}

// Clean asks the history's leader whether the store has everything that the history holds,
// and nothing that the room took has yet to be appended.
func (r *Room) Clean(ctx context.Context) (bool, error) {
	r.mu.Lock()
	subject, cleanAt, pending := r.at.updates, r.storing.cleanAt, r.storing.lost || r.log.landed() < r.log.water.taken
	r.mu.Unlock()
	if pending {
		return false, nil
	}
	last, err := r.rooms.cfg.History.Last(ctx, subject)
	if err != nil || last == 0 { // 0: it was lost, and what was in it is only here
		return false, err
	}
	if last == cleanAt {
		return true, nil
	}
	found, _, err := r.backlog.read(ctx, subject)
	return err == nil && found.Clean(), err
}

// Base returns the base that the room stands on.
func (r *Room) Base() oplog.Base {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.storing.base
	b.Covers = bytes.Clone(b.Covers)
	return b
}

// First reports whether this room is the one of those that share the document which
// stores it; the others step in when it does not.
func (r *Room) First() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers.first(r.id)
}

// Alone reports whether no other pod is heard that has the document.
func (r *Room) Alone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers.alone()
}

// Changed reports whether the history has what the store does not, as far as is known.
func (r *Room) Changed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.storing.changed
}
