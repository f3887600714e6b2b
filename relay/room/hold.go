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

// holds are the updates that wait before they are applied. What a member sent waits with its
// seat, what a pod sent in pods, and what a member sent who has left while the room was
// stopped in left. Updates of one source are applied in the order in which they came. sources
// is how many seats and pods have something that waits: while it is 0, which is nearly always,
// nobody goes through them. Guarded by Room.mu.
type holds struct {
	room    *Room
	sources int
	pods    map[oplog.ID]*held
	step1s  bool // a member is to be sent a SyncStep1

	stopped bool     // members' edits are held; see stop.go
	size    int      // how much was, in bytes, since then
	left    [][]byte // of members who left meanwhile; immutable
}

// begin is one more source of which something is held, and end one less.
func (hs *holds) begin() *held {
	hs.sources++
	return new(held)
}

func (hs *holds) end() { hs.sources-- }

// step1Later has a member sent a SyncStep1 as soon as it may be asked again.
func (hs *holds) step1Later(s *Seat) { s.step1Due, hs.step1s = true, true }

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

// take applies an update of the member, or holds it.
func (s *Seat) take(update []byte) (fresh bool, err error) {
	if s.room.holds.stopped {
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
		s.room.holds.step1Later(s)
		return s.apply(update, ystore.Terms{Limited: true})
	}
	if len(update) > holdBytes {
		return s.apply(update, ystore.Terms{Limited: true})
	}
	return s.hold(update)
}

func (s *Seat) hold(update []byte) (fresh bool, err error) {
	if s.held == nil {
		s.held = s.room.holds.begin()
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
	if was == nil || s.room.holds.stopped {
		return nil
	}
	s.held = nil
	s.room.holds.end()
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

// takeFrom applies an update of another pod. If messages of that pod were lost (lossy), an
// update that opens a gap is held until the difference has come, and so is what comes after
// it.
func (hs *holds) takeFrom(from oplog.ID, update []byte, lossy bool) {
	r, h := hs.room, hs.pods[from]
	if h == nil && lossy {
		changes, err := r.apply(update, nil, ystore.Terms{Gapless: true})
		if err == nil {
			r.exchange.heard(from, changes != nil)
			return
		}
		if errors.Is(err, ystore.ErrGap) {
			h = hs.begin()
			if hs.pods == nil {
				hs.pods = map[oplog.ID]*held{}
			}
			hs.pods[from] = h
		}
	}
	if h == nil || len(update) > holdBytes {
		hs.releaseFrom(from)
		r.exchange.heard(from, r.exchange.take(update))
		return
	}
	if h.add(update); h.size > holdBytes {
		hs.releaseFrom(from)
	}
}

func (hs *holds) releaseFrom(from oplog.ID) {
	h := hs.pods[from]
	if h == nil {
		return
	}
	delete(hs.pods, from)
	hs.end()
	e := &hs.room.exchange
	for _, u := range h.updates {
		e.heard(from, e.take(u))
	}
}

// release applies everything that is held.
func (hs *holds) release() {
	if hs.sources == 0 {
		return
	}
	for from := range hs.pods {
		hs.releaseFrom(from)
	}
	for _, s := range hs.room.members.seats {
		if err := s.release(); err != nil {
			s.member.Fail(err)
		}
	}
}

// tick applies what was held long enough, and asks members that are to be asked.
func (hs *holds) tick(now time.Time) {
	if hs.step1s {
		hs.step1s = false
		for _, s := range hs.room.members.seats {
			if s.step1Due && !s.sendStep1() {
				hs.step1s = true
			}
		}
	}
	if hs.sources == 0 {
		return
	}
	for from, h := range hs.pods {
		if h.due(now) {
			hs.releaseFrom(from)
		}
	}
	for _, s := range hs.room.members.seats {
		if s.held == nil || !s.held.due(now) {
			continue
		}
		s.awaited = false
		if err := s.release(); err != nil {
			s.member.Fail(err)
		}
	}
}
