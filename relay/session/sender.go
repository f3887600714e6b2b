package session

import (
	"errors"
	"sync"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// sender is what goes to a session's client, in the order in which it is sent, each message
// once: what the socket takes is written at once; while it is behind everything is queued,
// updates that are neighbours as one, and of awareness only whom it was about; what the
// queue has no room for is owed as a difference, for which the seat is asked when the queue
// is empty. Nothing is sent once it is gone.
//
// Everybody may call its methods, also under the room's lock, and none of them blocks.
type sender struct {
	// Static after New, or before the session joins a room.
	cfg     *Config
	conn    *conn.Conn
	via     *Channel    // nil: the connection is its own, and the wire y-websocket's
	share   *conn.Share // of the app; nil: none
	relayed bool        // by another node, for a client of Hocuspocus' wire

	mu      sync.Mutex
	behind  bool // the socket does not keep up: everything is queued
	gone    bool // nothing more is sent
	full    bool // the queue overflowed, or the room has more: it sends a difference later
	seat    Seat // set once by Sit, before the reader begins
	queue   []wire.Frame
	queued  int // bytes in it
	owed    owed
	clients map[uint64]uint64 // clients whose awareness waits, with the newest clock seen
}

// Relayed says that the client is another node, which carries one of Hocuspocus' wire: it
// has stateless messages, too. It is called before the session joins a room.
func (s *sender) Relayed() { s.relayed = true }

// Charge has what waits for the client alone counted for its app as well. It is called
// before Sit.
func (s *sender) Charge(share *conn.Share) { s.share = share }

// Share is the one that Charge named; nil: none.
func (s *sender) Share() *conn.Share { return s.share }

// Sit tells the session its seat, by which it may have been sent something already.
func (s *sender) Sit(seat Seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seat = seat
	if s.behind {
		s.conn.Drain()
	}
}

// Drain has Drained called for a session that may have been overlooked.
func (s *sender) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		s.conn.Drain()
	}
}

// Detach lets nothing more be sent: the session has ended, and its connection goes on. It
// does not block.
func (s *sender) Detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.noteWritten(true)
	s.conn.Queue(-s.queued)
	s.queue, s.queued, s.clients, s.full = nil, 0, nil, false
}

// hand writes a message, or queues it while the socket is behind. taken is false once the
// queue is full with it: nothing more may be sent until the session calls Seat.Thaw. bears
// is false if too much waits for the client alone.
func (s *sender) hand(m *wire.Message) (taken, bears bool) {
	if s.via == nil && m.Kind() == wire.Stateless {
		if s.relayed {
			return s.send(wire.EncodeStateless(m.Payload()), nil), true
		}
		return true, true // y-websocket has no such message
	}
	f := m.In(s.encoding())
	taken = s.send(f, batchOf(m))
	return taken, !m.Own || s.owe(len(f.Bytes()))
}

// encoding is that of the session's wire; nil is y-websocket's.
func (s *sender) encoding() wire.Encoding {
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

func (s *sender) send(f wire.Frame, with *conn.Batch) bool {
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

// answers writes answers to the client's questions whether what it sent is saved, by their
// payloads, which are lent, and a message behind them, if it is not nil.
func (s *sender) answers(payloads [][]byte, m *wire.Message) bool {
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
func (s *sender) along(all []byte, f wire.Frame) []byte {
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
func (s *sender) enqueue(f wire.Frame) {
	s.queue = append(s.queue, f)
	s.queued += len(f.Bytes())
	queued := s.conn.Queue(len(f.Bytes()))
	// Until Drained has asked for the difference, which may itself be of any size.
	s.full = s.full || queued > s.cfg.QueueBytes && len(s.queue) > 1
}

// Await has Seat.Thaw called once the socket has taken everything, by the goroutine that
// drains the connection.
func (s *sender) Await() {
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
func (s *sender) SendAwareness(m *wire.Message, entries []awareness.Entry) {
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
func (s *sender) KeepAlive() { s.send(wire.KeepAlive, nil) }

// Drained is for conn.Handler. What gathered meanwhile is merged and handed over, then the
// newest awareness, then the difference if the queue had overflowed.
func (s *sender) Drained() (more bool) {
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

func (s *sender) encode(kind wire.Kind, payload []byte) wire.Frame {
	if e := s.encoding(); e != nil {
		return e.Encode(kind, payload)
	}
	return wire.Encode(kind, payload)
}

// maxMerged bounds one merged update, in bytes: a slow link must finish it within what a
// client waits for a message.
const maxMerged = 256 << 10

// errUnseated: how updates are merged, the seat says.
var errUnseated = errors.New("the session has no seat yet")

func (s *sender) mergeUpdates(updates [][]byte) ([]byte, error) {
	if s.seat == nil {
		return nil, errUnseated
	}
	return s.seat.Merge(updates)
}

// merge makes one frame of neighbouring updates. Other frames keep their place.
func (s *sender) merge(queue []wire.Frame) []wire.Frame {
	merged := make([]wire.Frame, 0, len(queue))
	var run [][]byte
	var first wire.Frame
	size := 0
	flush := func() {
		if len(run) == 1 {
			merged = append(merged, first)
		} else if len(run) > 1 {
			if u, err := s.mergeUpdates(run); err == nil {
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
