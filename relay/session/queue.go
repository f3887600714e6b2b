package session

import (
	"errors"
	"sync"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// Send writes a message, or queues it while the socket is behind. false: the queue
// is full with this message; nothing more may be sent until the session calls
// Seat.Thaw. It never blocks. Who does not read what it alone asked for, when its app has
// too much of that waiting, is told to come again.
func (s *Session) Send(m *wire.Message) bool {
	if s.via == nil && m.Kind() == wire.Stateless {
		if s.relayed {
			return s.send(wire.EncodeStateless(m.Payload()), nil)
		}
		return true // y-websocket has no such message
	}
	f := m.In(s.encoding())
	ok := s.send(f, batchOf(m))
	if m.Own && !s.owe(len(f.Bytes())) {
		s.Close(closecode.TryAgain, closecode.ReasonTryAgain)
	}
	return ok
}

// encoding is that of the session's wire; nil is y-websocket's.
func (s *Session) encoding() wire.Encoding {
	if s.via != nil {
		return s.via.Encoding
	}
	return nil
}

// batchOf is what a message is written with; nil: alone.
func batchOf(m *wire.Message) *conn.Batch {
	if from, ok := m.From.(*Session); ok {
		return from.conn.Batch()
	}
	return nil
}

func (s *Session) send(f wire.Frame, with *conn.Batch) bool {
	s.conn.Sent()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return true
	}
	if s.via != nil {
		s.via.Sent(f)
	}
	if !s.behind {
		s.behind = s.conn.WriteWith(with, f.Bytes())
		return true
	}
	s.enqueue(f)
	return !s.full
}

// together bounds, in bytes, what is copied to be written in one system call: to copy more
// costs as much as another.
const together = 4 << 10

var togetherPool = sync.Pool{New: func() any { b := make([]byte, 0, together); return &b }}

// SendAnswers is Send for answers to the client's questions whether what it sent is saved,
// by their payloads, which are lent, and for a message behind them, if it is not nil.
func (s *Session) SendAnswers(payloads [][]byte, m *wire.Message) bool {
	if m != nil && (m.Own || m.Kind() == wire.Stateless || len(m.Payload()) > together/2) {
		taken := s.SendAnswers(payloads, nil)
		return s.Send(m) && taken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return true
	}
	buffer := togetherPool.Get().(*[]byte)
	all := (*buffer)[:0]
	for _, p := range payloads {
		all = s.along(all, s.encode(wire.SyncStatus, p))
	}
	if m != nil {
		all = s.along(all, m.In(s.encoding()))
	}
	if len(all) > 0 {
		s.behind = s.conn.WriteLent(all)
	}
	if *buffer = all; cap(all) <= 4*together {
		togetherPool.Put(buffer)
	}
	return !s.full
}

// along appends a frame to those that are written together, or queues it while the socket
// is behind. Callers hold mu.
func (s *Session) along(all []byte, f wire.Frame) []byte {
	s.conn.Sent()
	if s.via != nil {
		s.via.Sent(f)
	}
	if s.behind {
		s.enqueue(f)
		return all
	}
	return append(all, f.Bytes()...)
}

// enqueue has a frame wait for the socket. Callers hold mu.
func (s *Session) enqueue(f wire.Frame) {
	s.queue = append(s.queue, f)
	s.queued += len(f.Bytes())
	queued := s.conn.Queue(len(f.Bytes()))
	// Until Drained has asked for the difference, which may itself be of any size.
	s.full = s.full || queued > s.cfg.QueueBytes && len(s.queue) > 1
}

// Await has Seat.Thaw called once the socket has taken everything, by the goroutine that
// drains the connection.
func (s *Session) Await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.full = true
	if !s.behind {
		s.behind = true
		s.conn.Drain()
	}
}

// SendAwareness writes awareness, or remembers only whom it was about while the
// socket is behind: what is sent then is their newest state.
func (s *Session) SendAwareness(m *wire.Message, entries []awareness.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	if !s.behind {
		s.conn.Sent()
		f := m.In(s.encoding())
		if s.via != nil {
			s.via.Sent(f)
		}
		s.behind = s.conn.WriteWith(batchOf(m), f.Bytes())
		return
	}
	if s.clients == nil {
		s.clients = make(map[uint64]uint64, len(entries))
	}
	for _, e := range entries {
		s.clients[e.Client] = max(s.clients[e.Client], e.Clock)
	}
}

// KeepAlive is for conn.Handler.
func (s *Session) KeepAlive() { s.send(wire.KeepAlive, nil) }

// Drained is for conn.Handler. What gathered meanwhile is merged and handed over, then the
// newest awareness, then the difference if the queue had overflowed.
func (s *Session) Drained() (more bool) {
	s.mu.Lock()
	s.noteWritten(false)
	switch {
	case len(s.queue) > 0:
		frames := s.merge(s.queue)
		s.conn.Queue(-s.queued)
		s.queue, s.queued = nil, 0
		for _, f := range frames {
			s.conn.Write(f.Bytes())
		}
		s.mu.Unlock()
	case s.seat == nil && (len(s.clients) > 0 || s.full):
		s.mu.Unlock() // Sit has this called again
		return false
	case len(s.clients) > 0:
		clients := s.clients
		s.clients = nil
		s.mu.Unlock()
		f := s.encode(wire.Awareness, s.seat.Newest(clients)) // takes the room's lock, which comes before ours
		s.mu.Lock()
		if !s.gone {
			s.conn.Write(f.Bytes())
		}
		s.mu.Unlock()
	case s.full:
		s.full = false
		s.mu.Unlock()
		s.seat.Thaw() // comes back by Send, which still queues
	default:
		s.behind = false
		s.noteWritten(true)
		s.mu.Unlock()
		return false
	}
	return true
}

func (s *Session) encode(kind wire.Kind, payload []byte) wire.Frame {
	if e := s.encoding(); e != nil {
		return e.Encode(kind, payload)
	}
	return wire.Encode(kind, payload)
}

// maxMerged bounds one merged update, in bytes: a slow link must finish it within what a
// client waits for a message.
const maxMerged = 256 << 10

// errUnseated: how updates are joined, the seat says.
var errUnseated = errors.New("the session has no seat yet")

func (s *Session) join(updates [][]byte) ([]byte, error) {
	if s.seat == nil {
		return nil, errUnseated
	}
	return s.seat.Join(updates)
}

// merge makes one frame of neighbouring updates. Other frames keep their place.
func (s *Session) merge(queue []wire.Frame) []wire.Frame {
	merged := make([]wire.Frame, 0, len(queue))
	var run [][]byte
	var first wire.Frame
	size := 0
	flush := func() {
		if len(run) == 1 {
			merged = append(merged, first)
		} else if len(run) > 1 {
			if u, err := s.join(run); err == nil {
				merged = append(merged, s.encode(wire.Update, u))
			} else { // each came out of a store: joining them cannot fail, once there is a seat
				for _, u := range run {
					merged = append(merged, s.encode(wire.Update, u))
				}
			}
		}
		run, size = run[:0], 0
	}
	for _, f := range queue {
		u := f.Payload()
		if f.Kind != wire.Update {
			flush()
			merged = append(merged, f)
			continue
		}
		if size += len(u); size > maxMerged {
			flush()
			size = len(u)
		}
		if len(run) == 0 {
			first = f
		}
		run = append(run, u)
	}
	flush()
	return merged
}
