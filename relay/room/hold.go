package room

import (
	"bytes"
	"errors"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// An update that opens a gap comes from an author who declares it (a Yjs 14 client that
// accepts one of its suggestions and leaves an earlier one open), or from one whose
// earlier updates are missing: they are on their way in its SyncStep2, or were lost. Its
// deletions would be seen at once, but what was written in place of the deleted only
// when the gap fills. So such an update, and what the same author sends after it, is held
// for a moment and the author is asked. What the answer does not fill is declared, and
// passed on as it is: docs/ystore.md says why clients can have it.
const (
	holdMost  = time.Second // without an answer
	holdBytes = 256 << 10   // of one source
	step1Gap  = time.Second // between two SyncStep1 for one session
)

// held is what waits of one source.
type held struct {
	updates [][]byte
	size    int
	since   time.Time
	acks    int32    // acknowledgements that wait for it
	asks    [][]byte // questions that do, while the room is stopped
}

func (h *held) add(update []byte) {
	if len(h.updates) == 0 {
		h.since = time.Now()
	}
	h.updates = append(h.updates, bytes.Clone(update))
	h.size += len(update)
}

func (h *held) due(now time.Time) bool { return len(h.updates) > 0 && now.Sub(h.since) >= holdMost }

// take applies an update of the member, or holds it. Callers hold mu.
func (s *Seat) take(update []byte) (fresh bool, err error) {
	if s.room.stopped {
		return s.holdStopped(update)
	}
	if s.held != nil { // in the order in which they came
		if _, err := s.room.content.store.Growth(update); err != nil {
			return false, err
		}
		return s.hold(update)
	}
	fresh, err = s.apply(update, ystore.Terms{Limited: true, Gapless: true})
	if !errors.Is(err, ystore.ErrGap) {
		return fresh, err
	}
	if !s.awaited && !s.sendStep1() {
		s.step1Due, s.room.step1s = true, true
		return s.apply(update, ystore.Terms{Limited: true})
	}
	if len(update) > holdBytes {
		return s.apply(update, ystore.Terms{Limited: true})
	}
	return s.hold(update)
}

func (s *Seat) hold(update []byte) (fresh bool, err error) {
	if s.held == nil {
		s.held = new(held)
		s.room.holding++
	}
	s.held.add(update)
	if s.held.size > holdBytes {
		return true, s.release()
	}
	return true, nil
}

// sendStep1 asks the member for what the room lacks, unless it was asked a moment ago.
func (s *Seat) sendStep1() bool {
	now := clock()
	if now-s.step1At < int64(step1Gap) {
		return false
	}
	s.awaited, s.step1Due, s.step1At = true, false, now
	s.sendNew(wire.Step1, s.room.content.store.StateVector())
	return true
}

// release applies what is held of the member, unless the room is stopped. It returns the
// first error.
func (s *Seat) release() (err error) {
	was := s.held
	if was == nil || s.room.stopped {
		return nil
	}
	s.held = nil
	s.room.holding--
	for _, u := range was.updates {
		if _, e := s.apply(u, ystore.Terms{Limited: true}); err == nil {
			err = e
		}
	}
	if was.acks > 0 && err == nil {
		s.acknowledge(was.acks)
	}
	for _, question := range was.asks {
		if err == nil {
			s.question(question)
		}
	}
	return err
}

// takeFrom applies an update of another pod. After messages of its were lost, one that
// opens a gap, and what comes after it, is held until the difference has come.
func (r *Room) takeFrom(from oplog.ID, update []byte, lossy bool) {
	h := r.heldOf[from]
	if h == nil && lossy {
		changes, err := r.apply(update, nil, ystore.Terms{Gapless: true})
		if err == nil {
			r.heard(from, changes != nil)
			return
		}
		if errors.Is(err, ystore.ErrGap) {
			h = new(held)
			if r.heldOf == nil {
				r.heldOf = map[oplog.ID]*held{}
			}
			r.heldOf[from] = h
			r.holding++
		}
	}
	if h == nil || len(update) > holdBytes {
		r.releaseFrom(from)
		r.takeNow(from, update)
		return
	}
	if h.add(update); h.size > holdBytes {
		r.releaseFrom(from)
	}
}

func (r *Room) releaseFrom(from oplog.ID) {
	h := r.heldOf[from]
	if h == nil {
		return
	}
	delete(r.heldOf, from)
	r.holding--
	for _, u := range h.updates {
		r.takeNow(from, u)
	}
}

func (r *Room) takeNow(from oplog.ID, update []byte) {
	r.heard(from, r.take(update))
}

// heard numbers a change that another pod published. Who has forgotten it does not know
// whether it is durable.
func (r *Room) heard(from oplog.ID, brought bool) {
	if !brought {
		return
	}
	if p := r.peers.heard[from]; p != nil {
		p.open = p.open.with(r.log.water.hear())
	} else {
		r.log.water.unconfirmed = r.log.water.unconfirmed.with(r.log.water.hear())
	}
}

// releaseAll applies everything that is held. Callers hold mu.
func (r *Room) releaseAll() {
	if r.holding == 0 {
		return
	}
	for from := range r.heldOf {
		r.releaseFrom(from)
	}
	for _, s := range r.seats {
		if err := s.release(); err != nil {
			s.member.Fail(err)
		}
	}
}

// releaseDue applies what was held long enough, and asks members that are to be asked.
// Callers hold mu.
func (r *Room) releaseDue(now time.Time) {
	if r.step1s {
		r.step1s = false
		for _, s := range r.seats {
			if s.step1Due && !s.sendStep1() {
				r.step1s = true
			}
		}
	}
	if r.holding == 0 {
		return
	}
	for from, h := range r.heldOf {
		if h.due(now) {
			r.releaseFrom(from)
		}
	}
	for _, s := range r.seats {
		if s.held == nil || !s.held.due(now) {
			continue
		}
		s.awaited = false
		if err := s.release(); err != nil {
			s.member.Fail(err)
		}
	}
}
