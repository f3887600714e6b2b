package room

import (
	"time"

	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// What is larger than ystore.MaxMessage reaches a member in pieces, each when its socket
// has taken the one before: y-websocket drops a connection on which no message completed
// for 30 s, and begins anew after what it has integrated. Meanwhile the member is frozen,
// so that it is sent nothing else: what happens is in the pieces to come.

// course is a difference in pieces, which are made as members come to them and shared by
// all that began where it does.
type course struct {
	parts []stage
	rest  *wire.Message // the SyncStep2 behind them, once somebody came to it
	dead  bool          // its messages are gone: each member goes on by itself
}

type stage struct {
	message *wire.Message
	piece   ystore.Piece // without its bytes
}

// liveCourse is how long the pieces of a large update are kept for the members.
const liveCourse = 10 * time.Second

func (c *course) kill() {
	if c == nil {
		return
	}
	c.dead, c.rest = true, nil
	for i := range c.parts {
		c.parts[i].message = nil
	}
}

// catchUp begins to send the member what it lacks, in pieces. c is the course that begins
// there, if there is one.
func (s *Seat) catchUp(from ystore.Progress, c *course) {
	if s.behind == nil {
		s.behind = new(behind)
	}
	s.behind.begin(from, c)
	s.member.Await()
}

func (b *behind) begin(from ystore.Progress, c *course) {
	b.progress, b.course, b.at, b.since = from, c, 0, 0
}

// nextPiece returns the next piece; ok is false when the rest is one message.
func (s *Seat) nextPiece() (m *wire.Message, ok bool) {
	b := s.behind
	c := b.course
	if c != nil && !c.dead && b.at < len(c.parts) {
		b.at++
		return c.parts[b.at-1].message, true
	}
	from := b.progressNow()
	piece, ok := s.room.content.store.Next(from)
	if !ok {
		return nil, false
	}
	m = wire.NewMessage(wire.Update, piece.Update)
	m.Own = c == nil
	piece.Update = nil
	b.progress = from.Past(piece)
	if c != nil && !c.dead {
		c.parts = append(c.parts, stage{m, piece})
		b.at++
		b.since = b.at
	}
	return m, true
}

// progressNow is how far the pieces that were sent have brought the member. One that
// left its course, because it is dead, does not come back to it.
func (b *behind) progressNow() ystore.Progress {
	if c := b.course; c != nil {
		for ; b.since < b.at; b.since++ {
			b.progress = b.progress.Past(c.parts[b.since].piece)
		}
		if c.dead {
			b.course = nil
		}
	}
	return b.progress
}

// restMessage is the last message of a difference.
func (s *Seat) restMessage() *wire.Message {
	store, from := s.room.content.store, s.behind.progressNow()
	if s.behind.questions == 0 {
		return own(wire.Update, store.Rest(from, wire.Headroom))
	}
	c := s.behind.course
	if c == nil && from.None() && store.Stats().Bytes <= ystore.MaxMessage {
		return s.room.content.whole() // as others may have it already
	}
	if c == nil || c != s.room.content.start {
		return own(wire.Step2, store.Rest(from, wire.Headroom))
	}
	if c.rest == nil {
		c.rest = around(wire.Step2, store.Rest(from, wire.Headroom))
	}
	return c.rest
}

// own is around for a message to one member.
func own(kind wire.Kind, buf []byte) *wire.Message {
	m := around(kind, buf)
	m.Own = true
	return m
}

// around makes a message of a payload behind a wire.Headroom, in place.
func around(kind wire.Kind, buf []byte) *wire.Message {
	m := new(wire.Message)
	m.SetAround(kind, buf)
	return m
}
