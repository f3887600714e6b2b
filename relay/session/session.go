// Package session is one client in one document: what its messages ask of the room, what
// waits for it while its connection is behind, and what it may do. A connection carries
// one session, or several.
package session

import (
	"cmp"
	"time"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// Seat is the session's place in its document's room; *room.Seat is one.
type Seat interface {
	Step1(stateVector []byte) (answered int, err error)
	Apply(update []byte) (fresh bool, err error)
	Answer(update []byte) (fresh bool, err error)
	Brings(update []byte) (bool, error)
	Awareness(update []byte) error
	QueryAwareness()
	Ask(payload []byte)
	Stateless(text []byte, readOnly bool) (passed bool)
	Acknowledge()
	Greet()
	Newest(seen map[uint64]uint64) (update []byte)
	Thaw()
	// Merge makes one update of several. It takes no lock.
	Merge(updates [][]byte) ([]byte, error)
	// Worked returns what the messages since it was asked last cost beyond their bytes, as
	// if it were bytes. It is called by the session's reader.
	Worked() int
}

// Config holds what is the same for all sessions of a node. Zero values mean the
// defaults written beside them.
type Config struct {
	MaxMessageBytes  int // 16 MiB: an update, or anything but a SyncStep2
	MaxDocumentBytes int // 256 MiB: a SyncStep2
	QueueBytes       int // 1 MiB: what may wait for a slow client, for all sessions of its connection together; beyond it, the client gets a difference later

	// Applied is told how long every 16th edit took from its frame until it was
	// handed to all other sessions of the node. Nil disables it.
	Applied func(time.Duration)
}

// SetDefaults fills in the zero values.
func (c *Config) SetDefaults() {
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 16<<20)
	c.MaxDocumentBytes = cmp.Or(c.MaxDocumentBytes, 256<<20)
	c.QueueBytes = cmp.Or(c.QueueBytes, 1<<20)
}

// Guard judges what a session does. Its methods are called from the session's
// reader. All that return a time return how long to pause before reading on: that slows a
// client down without losing anything.
type Guard interface {
	conn.Guard                        // Received is also told of messages, by their bytes and the work that they were
	Answered(bytes int) time.Duration // a SyncStep2, in answer to a SyncStep1
	// Begin is called before a message is handled, and waits a moment if Fast says so; End
	// follows it.
	Begin()
	Fast() bool
	End()
	// Operation counts an update that brought something new, or a stateless message that
	// was passed on; a reason other than "" ends the session with code 4006.
	Operation() (reason string)
}

// Session is one client in one document: what its messages ask for is done here, what it is
// sent is the sender's. It is made by New, seated by Sit, and given its client's messages.
// Send, SendAwareness and Close may be called concurrently.
type Session struct {
	sender // whose fields are its own but for the static ones, and the seat

	// Static after New.
	guard    Guard
	readOnly bool

	// Owned by the reader.
	dropped bool // an update was, since the session is read-only
}

// New makes a session of a connection that carries it alone. Messages are taken by the
// connection's Run, which must not begin before Sit.
func New(c *conn.Conn, cfg *Config, guard Guard, readOnly bool) *Session {
	return &Session{sender: sender{cfg: cfg, conn: c}, guard: guard, readOnly: readOnly}
}

// Prefetch is for room.Member. Nothing that it reads is ever waited for.
func (s *Session) Prefetch() {
	if s.via != nil {
		_ = s.via.out.Load()
	}
	s.conn.Prefetch()
}

// Send writes a message, or queues it while the socket is behind. false: the queue
// is full with this message; nothing more may be sent until the session calls
// Seat.Thaw. It never blocks. Who does not read what it alone asked for, when its app has
// too much of that waiting, is told to come again.
func (s *Session) Send(m *wire.Message) bool {
	taken, bears := s.hand(m)
	if !bears {
		s.Close(closecode.TryAgain, closecode.ReasonTryAgain)
	}
	return taken
}

// SendAnswers is Send for answers to the client's questions whether what it sent is saved,
// by their payloads, which are lent, and for a message behind them, if it is not nil.
func (s *Session) SendAnswers(payloads [][]byte, m *wire.Message) bool {
	if m != nil && (m.Own || m.Kind() == wire.Stateless || len(m.Payload()) > together/2) {
		taken := s.answers(payloads, nil)
		return s.Send(m) && taken
	}
	return s.answers(payloads, m)
}

// Close ends the session with a close code and a reason, soon. It does not block.
func (s *Session) Close(code int, reason string) {
	if s.via != nil {
		s.via.End(s, code, reason, nil)
		return
	}
	s.conn.Close(code, reason)
}

// End cuts the session's connection without waiting for the client. It does not block.
func (s *Session) End() { s.conn.End() }

// Conn is the session's connection.
func (s *Session) Conn() *conn.Conn { return s.conn }

// Ping asks for a sign of life before it is due. It does not block.
func (s *Session) Ping() { s.conn.Ping() }

// Silent is for how long nothing has come from the client.
func (s *Session) Silent() time.Duration { return s.conn.Silent() }

// Limit is for conn.Handler: only an answer to a SyncStep1 may be as large as a document.
func (s *Session) Limit(head []byte) int {
	if wire.BeginsStep2(head) {
		return s.LimitOf(wire.Step2)
	}
	return s.LimitOf(wire.Unknown)
}

// LimitOf is how large a message may be, in bytes.
func (s *Session) LimitOf(kind wire.Kind) int {
	if kind == wire.Step2 {
		return s.cfg.MaxDocumentBytes
	}
	return s.cfg.MaxMessageBytes
}

// Message is for conn.Handler: it does what a message asks for.
func (s *Session) Message(message []byte) (pause time.Duration) {
	m, err := wire.Decode(message)
	if in, _, _, _ := s.conn.Traffic(); in == 1 && wire.IsHocuspocus(message) != wire.Unknown {
		err = errHocuspocus
	}
	if err != nil {
		s.Fail(&MessageError{m.Kind, err})
		return s.guard.Received(len(message))
	}
	return s.Take(m, len(message))
}

// Take does what a message of so many bytes asks for, and says how long to pause before
// more is read.
func (s *Session) Take(m wire.Received, size int) (pause time.Duration) {
	if s.via != nil {
		s.via.Received(size)
	}
	if s.guard.Fast() {
		s.conn.Flush()
	}
	s.guard.Begin()
	answered, taken, err := s.handle(m)
	s.guard.End()
	if err == nil && s.via != nil {
		s.reply(m.Kind, taken)
	}
	pause = s.guard.Received(size + s.seat.Worked())
	if m.Kind == wire.Step1 {
		pause = max(pause, s.guard.Answered(answered))
	}
	if err != nil {
		s.Fail(&MessageError{m.Kind, err})
	}
	return pause
}

// handle does what a message asks for. answered is the size of a SyncStep2; taken is
// whether an update was, and not dropped.
func (s *Session) handle(m wire.Received) (answered int, taken bool, err error) {
	switch m.Kind {
	case wire.Step1:
		answered, err = s.seat.Step1(m.Payload)
		return answered, false, err
	case wire.Step2, wire.Update:
		taken, err = s.edit(m)
		return 0, taken, err
	case wire.Awareness:
		return 0, false, s.seat.Awareness(m.Payload)
	case wire.QueryAwareness:
		s.seat.QueryAwareness()
	case wire.Stateless:
		if s.via == nil && !s.relayed {
			break
		}
		if s.seat.Stateless(m.Payload, s.readOnly) {
			s.operation()
		}
	case wire.SyncStatus:
		if !s.dropped { // else something that it sent will never be saved
			s.seat.Ask(m.Payload)
		}
	}
	return 0, false, nil
}

// edit applies an update; a session that may only read is told so if the update
// would have changed anything.
func (s *Session) edit(m wire.Received) (taken bool, err error) {
	if s.readOnly {
		brings, err := s.seat.Brings(m.Payload)
		if s.via != nil { // told by reply: of an update in any case
			return err == nil && !brings && m.Kind == wire.Step2, err
		}
		if err == nil && brings {
			s.dropped = true
			s.Send(wire.NewMessage(wire.PermissionDenied, []byte("read-only")))
		}
		return false, err
	}
	var start time.Time
	sampled := s.sampled()
	if sampled {
		start = time.Now()
	}
	apply := s.seat.Apply
	if m.Kind == wire.Step2 {
		apply = s.seat.Answer
	}
	fresh, err := apply(m.Payload)
	if err != nil || !fresh {
		return true, err
	}
	if sampled {
		s.cfg.Applied(time.Since(start))
	}
	s.operation()
	return true, nil
}

// operation counts what goes on to the other clients of the document.
func (s *Session) operation() {
	if reason := s.guard.Operation(); reason != "" {
		s.refuse(closecode.Rate, reason, errRate)
	}
}

// sampleEvery is how many messages share a look at the clock.
const sampleEvery = 16

func (s *Session) sampled() bool {
	if s.cfg.Applied == nil {
		return false
	}
	in, _, _, _ := s.conn.Traffic()
	return in%sampleEvery == 0
}
