package room

import (
	"unicode/utf8"

	"github.com/wsnode/wsnode/relay/oplog"
)

// MaxStateless bounds a stateless message, in bytes, as awareness.MaxStateBytes does a
// client's presence.
const MaxStateless = 64 << 10

// Stateless passes a text of the client on to all others of the document, on all nodes,
// if its app wants that. It reports whether it did: what the app does not want, or no
// client could read, is dropped. A text is not kept: who comes later, or is behind, never
// gets it.
func (s *Seat) Stateless(text []byte, readOnly bool) (passed bool) {
	r := s.room
	counts := &r.rooms.Counters.Stateless
	switch {
	case !s.stateless:
		counts.Off.Add(1)
		s.logDropped("they are not passed on; see --stateless")
		return false
	case readOnly:
		counts.ReadOnly.Add(1)
		return false
	case len(text) > MaxStateless:
		counts.Large.Add(1)
		s.logDropped("it is too large")
		return false
	case !utf8.Valid(text): // clients throw
		counts.Invalid.Add(1)
		return false
	}
	r.mu.Lock()
	if s.index < 0 {
		r.mu.Unlock()
		return false
	}
	counts.Passed.Add(1)
	r.members.spreadStateless(text, s)
	alone, at := r.peers.alone(), r.at.subjects
	r.mu.Unlock()
	if !alone {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendStateless(nil, r.id, at.tag, text))
	}
	return true
}

// logDropped logs once for each app that a stateless message was dropped, which is a
// mistake of the application or of its operator.
func (s *Seat) logDropped(why string) {
	if doc := s.room.doc; s.room.rooms.unheard.first(doc.AppID()) {
		s.room.rooms.cfg.Log.Warn("a stateless message of the app is dropped: "+why, "document", doc.String(), "limit", MaxStateless)
	}
}

// receiveStateless takes a text of a client on another pod.
func (e *exchange) receiveStateless(text []byte) {
	r := e.room
	if len(text) > MaxStateless || !utf8.Valid(text) {
		r.rooms.refuse(oplog.ErrMalformed)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members.spreadStateless(text, nil)
}
