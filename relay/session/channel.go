package session

import (
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// Stream is what the messages of one client in one document go to: a Session, or a link
// to the region that has the document. Messages are given to it one at a time.
type Stream interface {
	// Take does what a message of so many bytes asks for, and says how long to pause
	// before more is read.
	Take(m wire.Received, size int) (pause time.Duration)
	// LimitOf is how large a message may be, in bytes.
	LimitOf(kind wire.Kind) int
	// Resume is called first, for a client that does not know that its stream is another.
	Resume() error
	// Fail ends the stream for an error of Resume.
	Fail(err error)
	// Drain has the connection ask Drained, which writes what waited; false: nothing did.
	Drain()
	Drained() (more bool)
	// Detach lets nothing more be sent: the stream has ended, and its connection goes on.
	// It does not block.
	Detach()
}

var _ Stream = (*Session)(nil)

// Channel is a session's part of a connection that it shares with others: the wire is
// Hocuspocus'. It outlives the session, if the client goes on in another without knowing.
type Channel struct {
	// What each message to the client touches stands together, as in conn.Conn.
	Encoding       wire.Encoding // static
	out, bytesOut  atomic.Int64  // messages to the client
	unacknowledged atomic.Int64  // messages that the client expects an acknowledgement of, those it was refused among them

	// End ends the stream as Session.Close would, soon. It may be called under the room's
	// lock, and must not block.
	End func(s Stream, code int, reason string, why error)

	// Owned by the reader, and by who makes a stream while there is none.
	Own       awareness.Own // the client's own state, as far as a stream noted it
	begun     bool          // the client sent a SyncStep1 in this session
	exchanges int           // SyncStep1 of the client of which the answer to ours has not come
	owed      int           // acknowledgements of what was sent in a former session

	in, bytesIn atomic.Int64 // messages of the client
}

// NewShared makes a session that has a channel of a connection. Its messages are given to
// Take by whoever reads, one at a time.
func NewShared(c *conn.Conn, cfg *Config, guard Guard, readOnly bool, via *Channel) *Session {
	s := New(c, cfg, guard, readOnly)
	s.via = via
	via.Begin()
	return s
}

// Begin begins another stream: nothing has been exchanged in it.
func (v *Channel) Begin() { v.begun, v.exchanges, v.owed = false, 0, 0 }

// maxOwed bounds how many acknowledgements are made up for at once: a client that may only
// read can have sent any number. One that counted more says "not saved" until it connects
// anew, and counts from there.
const maxOwed = 10_000

// Resume goes on with what a stream before has left: what the client sent and was not
// acknowledged is acknowledged behind its answer to the first SyncStep1.
func (v *Channel) Resume() {
	v.begun = true // by SyncStep1 of the stream before
	v.owed = int(min(v.unacknowledged.Load(), maxOwed))
}

// Missed notes a message that came while there was no stream. Nothing of it need be kept:
// the client brings what it has when the next stream asks, and says then who it is.
func (v *Channel) Missed(m wire.Received) {
	switch m.Kind {
	case wire.Step1:
		v.unacknowledged.Store(1) // so the client counts
	case wire.Update:
		v.unacknowledged.Add(1)
	case wire.Awareness:
		v.Own.Note(m.Payload)
	}
}

// Resume has a client that does not know that its session is another brought up to what
// the room holds, asks it for the rest, and says who it is.
func (s *Session) Resume() error {
	if s.via != nil {
		s.via.Resume()
		if own := s.via.Own.Update(); own != nil {
			if err := s.seat.Awareness(own); err != nil {
				return err
			}
		}
	}
	_, err := s.seat.Step1([]byte{0})
	return err
}

// Due says what Hocuspocus' wire asks for beyond what a message did: one acknowledgement
// for each update, and for the answer to each SyncStep1 of the client's exchanges, for
// which it gets ours. The first of a stream has had what the stream began with.
func (v *Channel) Due(kind wire.Kind) (acknowledgements int, greeting bool) {
	switch kind {
	case wire.Step1:
		greeting = v.begun
		v.begun = true
		v.exchanges++
		v.unacknowledged.Store(1) // so the client counts
	case wire.Step2:
		switch {
		case v.owed > 0:
			acknowledgements, v.owed = v.owed, 0
		case v.exchanges > 0:
			v.exchanges--
			acknowledgements = 1
		}
	case wire.Update:
		v.unacknowledged.Add(1)
		acknowledgements = 1
	}
	return acknowledgements, greeting
}

// reply does what a message is due.
func (s *Session) reply(kind wire.Kind, taken bool) {
	due, greeting := s.via.Due(kind)
	if greeting {
		s.seat.Greet()
	}
	switch {
	case due == 0:
	case !taken: // what the client counts stays as it is: it has edits that are not saved
		s.Send(wire.NewMessage(wire.PermissionDenied, nil))
	default:
		for range due {
			s.seat.Acknowledge()
		}
	}
}

// Sent counts a message to the client.
func (v *Channel) Sent(f wire.Frame) {
	v.out.Add(1)
	v.bytesOut.Add(int64(len(f.Bytes())))
	if f.Kind == wire.SyncStatus && v.unacknowledged.Load() > 0 {
		v.unacknowledged.Add(-1)
	}
}

// Received counts a message of the client.
func (v *Channel) Received(size int) {
	v.in.Add(1)
	v.bytesIn.Add(int64(size))
}

// Traffic returns what went through the channel, messages and bytes.
func (v *Channel) Traffic() (framesIn, framesOut, bytesIn, bytesOut int64) {
	return v.in.Load(), v.out.Load(), v.bytesIn.Load(), v.bytesOut.Load()
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
		return v.Traffic()
	}
	return s.conn.Traffic()
}
