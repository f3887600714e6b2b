package room

import (
	"bytes"
	"errors"
	"slices"

	"github.com/wsnode/wsnode/relay/ystore"
)

// While its document moves to another region, a room is stopped: what members send is held
// and not applied, so that nobody sees it, no history gets it and nothing of it is
// acknowledged. If the document stays, it is applied then, in the order in which it came.
// If it has gone, members bring it with them: they have it until it is acknowledged.
//
// What other pods published before they stopped is applied all the same.

// stoppedBytes bounds what is held of a member, and stoppedRoomBytes of all together, those
// who have left included; who sends more comes back later.
const (
	stoppedBytes     = 1 << 20
	stoppedRoomBytes = 32 << 20
)

// errStopped ends such a member's session.
var errStopped = passingError{errors.New("too many edits while the document moves to another region")}

// passingError ends a session whose client may come back at once.
type passingError struct{ error }

// Passes says that the client has done nothing wrong.
func (passingError) Passes() bool { return true }

// Stop has the room hold the edits of its members, until Resume or MoveAway.
func (r *Room) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds.stopped || r.closed {
		return
	}
	r.holds.release()
	r.holds.stopped, r.holds.size = true, 0
}

// Resume applies what was held while the room was stopped, and goes on.
func (r *Room) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.holds.stopped || r.closed {
		return
	}
	r.holds.stopped = false
	r.holds.applyLeft()
	r.holds.release()
}

// MoveAway says that the document has moved. The room stays stopped. What members sent who
// have left since it was stopped nobody brings to the new place: it is in this room now, and
// MoveAway reports whether there was any, which is to be stored.
func (r *Room) MoveAway() (left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left = len(r.holds.left) > 0
	r.holds.applyLeft()
	return left
}

// applyLeft applies what is held of members who left. What cannot be applied, the session's
// end would not have told them either.
func (hs *holds) applyLeft() {
	r, left := hs.room, hs.left
	hs.left = nil
	for _, update := range left {
		if changes, err := r.apply(update, nil, ystore.Terms{Limited: true}); err == nil && changes != nil {
			r.log.takeEdit(changes, true)
		}
	}
}

// leaveHeld keeps what is held of a member who leaves.
func (s *Seat) leaveHeld() {
	if s.held == nil {
		return
	}
	hs := &s.room.holds
	hs.left = append(hs.left, s.held.updates...)
	s.held = nil
	hs.end()
}

// holdStopped holds an update of a member while the room is stopped.
func (s *Seat) holdStopped(update []byte) (fresh bool, err error) {
	if _, err := s.room.content.store.Growth(update); err != nil {
		return false, err
	}
	hs := &s.room.holds
	if s.held == nil {
		s.held = hs.begin()
	}
	first := len(s.held.updates) == 0 // may be of any size, as a message may
	if !first && s.held.size+len(update) > stoppedBytes || hs.size > 0 && hs.size+len(update) > stoppedRoomBytes {
		return false, errStopped
	}
	hs.size += len(update)
	s.held.add(update)
	return true, nil
}

// ask keeps a question until what is held before it is applied.
func (h *held) ask(payload []byte) {
	if len(h.asks) == maxAsks {
		h.asks = slices.Delete(h.asks, 0, 1)
	}
	h.asks = append(h.asks, bytes.Clone(payload))
}
