package session

import (
	"sync/atomic"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// Channel is a session's part of a connection that it shares with others: the wire is
// Hocuspocus'. It outlives the session, if the client goes on in another without knowing.
type Channel struct {
	Encoding wire.Encoding
	// End ends the session as Close would, soon. It may be called under the room's lock,
	// and must not block.
	End func(s *Session, code int, reason string, why error)

	// Owned by the reader.
	begun     bool // the client sent a SyncStep1 in this session
	exchanges int  // SyncStep1 of the client of which the answer to ours has not come
	owed      int  // acknowledgements of what was sent in a former session

	unacknowledged atomic.Int64 // messages that the client expects an acknowledgement of
	in, out        atomic.Int64 // messages
	bytesIn        atomic.Int64
	bytesOut       atomic.Int64
}

// NewShared makes a session that has a channel of a connection. Its messages are given to
// Take by whoever reads, one at a time.
func NewShared(c *conn.Conn, cfg *Config, guard Guard, readOnly bool, via *Channel) *Session {
	s := New(c, cfg, guard, readOnly)
	s.via = via
	via.begun, via.exchanges = false, 0
	return s
}

// Resume has a client that does not know that its session is another brought up to what
// the room holds, and asks it for the rest: what it sent and was not acknowledged is
// acknowledged behind its answer.
func (s *Session) Resume() error {
	s.via.begun = true // by SyncStep1 of the session before
	s.via.owed = int(s.via.unacknowledged.Load())
	_, err := s.seat.Step1([]byte{0})
	return err
}

// Detach lets nothing more be sent: the session has ended, and its connection goes on. It
// does not block.
func (s *Session) Detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.conn.Queue(-s.queued)
	s.queue, s.queued, s.clients, s.full = nil, 0, nil, false
}

// reply does what Hocuspocus' wire asks for beyond what a message did: one
// acknowledgement for each update, and for the answer to each SyncStep1 of the client's
// exchanges, for which it gets ours.
func (s *Session) reply(kind wire.Kind, taken bool) {
	v := s.via
	switch kind {
	case wire.Step1:
		if v.exchanges++; v.begun { // the first has had the room's
			s.seat.Greet()
		}
		v.begun = true
		v.unacknowledged.Store(1) // so the client counts
	case wire.Step2:
		if v.owed > 0 {
			for ; v.owed > 0; v.owed-- {
				s.acknowledge(taken)
			}
			return
		}
		if v.exchanges > 0 {
			v.exchanges--
			s.acknowledge(taken)
		}
	case wire.Update:
		v.unacknowledged.Add(1)
		s.acknowledge(taken)
	}
}

func (s *Session) acknowledge(taken bool) {
	if taken {
		s.seat.Acknowledge()
	} else {
		s.Send(wire.NewMessage(wire.PermissionDenied, nil))
	}
}

// sent counts a message to the client.
func (v *Channel) sent(f wire.Frame) {
	v.out.Add(1)
	v.bytesOut.Add(int64(len(f.Bytes())))
	if (f.Kind == wire.SyncStatus || f.Kind == wire.PermissionDenied) && v.unacknowledged.Load() > 0 {
		v.unacknowledged.Add(-1)
	}
}

// Stats returns the session's figures as they are now.
func (s *Session) Stats() conn.Stats {
	stats := s.conn.Stats()
	if s.via != nil {
		stats.FramesIn, stats.FramesOut, stats.BytesIn, stats.BytesOut = s.Traffic()
		s.mu.Lock()
		stats.Queued = s.queued
		s.mu.Unlock()
	}
	return stats
}

// Traffic returns the counts among the Stats, at less cost.
func (s *Session) Traffic() (framesIn, framesOut, bytesIn, bytesOut int64) {
	if v := s.via; v != nil {
		return v.in.Load(), v.out.Load(), v.bytesIn.Load(), v.bytesOut.Load()
	}
	return s.conn.Traffic()
}
