package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/relay/closecode"
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
	Newest(seen map[uint64]uint64) []byte
	Thaw()
	// Worked returns what the updates since it was asked last cost beyond their bytes, as
	// if it were bytes. It is called by the session's reader.
	Worked() int
}

// Config holds what is the same for all sessions of a node. Zero values mean the
// defaults written beside them.
type Config struct {
	MaxMessageBytes  int           // 16 MiB: an update, or anything but a SyncStep2
	MaxDocumentBytes int           // 256 MiB: a SyncStep2
	MaxIncomingBytes int           // 1 GiB: unfinished large messages of all sessions together, of which an app gets a share; negative: any number
	QueueBytes       int           // 1 MiB: what may wait for a slow client; beyond it, the client gets a difference later
	WriteTimeout     time.Duration // 30 s without any progress ends the connection
	RefuseAfter      time.Duration // 3 s: how long a client that would come back with the same is kept first; negative: not at all

	// Applied is told how long every 16th edit took from its frame until it was
	// handed to all other sessions of the node. Nil disables it.
	Applied func(time.Duration)

	incoming *atomic.Int64 // bytes that unfinished large messages take
	refused  *atomic.Int64 // sessions that are kept before they are closed
}

// SetDefaults fills in the zero values.
func (c *Config) SetDefaults() {
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = 16 << 20
	}
	if c.MaxDocumentBytes == 0 {
		c.MaxDocumentBytes = 256 << 20
	}
	if c.MaxIncomingBytes == 0 {
		c.MaxIncomingBytes = 1 << 30
	}
	c.incoming, c.refused = new(atomic.Int64), new(atomic.Int64)
	if c.RefuseAfter == 0 {
		c.RefuseAfter = 3 * time.Second
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 1 << 20
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
}

// Guard judges what a session does. Its methods are called from the session's
// reader. The first three return how long to pause before reading on: that slows a
// client down without losing anything.
type Guard interface {
	Received(cost int) time.Duration   // a message, by its bytes and the work that it was
	Framed(control bool) time.Duration // a frame that is no message: a control frame, or one more of a message in fragments
	Answered(bytes int) time.Duration  // a SyncStep2, in answer to a SyncStep1
	// Operation counts an update that brought something new; a reason other than
	// "" ends the session with code 4006.
	Operation() (reason string)
}

// Session is one client in one document. It is made by New, told its seat by Sit
// before anything is sent to it, and Run.
// Send, SendAwareness and Close may be called concurrently.
type Session struct {
	cfg      *Config
	socket   *Socket
	readOnly bool
	dropped  bool // an update was, since the session is read-only; owned by the reader
	guard    Guard
	pulse    *Pulse
	since    time.Time
	seat     Seat // set by Sit
	ctx      context.Context
	ended    func(Closed)
	resting  atomic.Bool // it has no goroutine
	lastData atomic.Int64
	frames   struct{ in, out atomic.Int64 }
	share    *Share                   // of its app; nil: none
	transfer atomic.Pointer[transfer] // the message being read, if it has not come whole; set by the reader
	pings    int                      // that were due; owned by the pulse
	refusal  refusal

	mu      sync.Mutex
	behind  bool // the socket does not keep up: everything is queued
	full    bool // the queue overflowed, or the room has more: it sends a difference later
	queue   []wire.Frame
	queued  int
	clients map[uint64]uint64 // clients whose awareness waits, with the newest clock seen
}

// New makes a session of an accepted socket. share is that of its app, or nil.
func New(socket *Socket, cfg *Config, guard Guard, share *Share, pulse *Pulse, readOnly bool) *Session {
	s := &Session{cfg: cfg, socket: socket, guard: guard, share: share, pulse: pulse, readOnly: readOnly, since: time.Now()}
	socket.session = s
	s.lastData.Store(pulse.now.Load())
	socket.conn.direct(s.drained, cfg.WriteTimeout)
	return s
}

// Sit tells the session its seat.
func (s *Session) Sit(seat Seat) { s.seat = seat }

// Run reads until the connection ends, and then calls ended with how, once. It may
// return before that: a session that has nothing to read rests without a goroutine,
// and ended is called by another one.
func (s *Session) Run(ctx context.Context, ended func(Closed)) {
	s.ctx, s.ended = ctx, ended
	s.pulse.add(s)
	s.proceed()
}

// proceed reads until the session ends or rests.
func (s *Session) proceed() {
	s.resting.Store(false)
	err := s.read()
	for err == errRest {
		s.resting.Store(true)
		s.socket.conn.waking = true
		if s.pulse.lot.Load().rest(s) {
			return
		}
		s.resting.Store(false)
		s.socket.conn.waking = false
		err = s.read()
	}
	s.pulse.remove(s)
	s.socket.end()
	peer := Closed{Code: 1006, Reason: "connection lost"}
	if said := (*closeError)(nil); errors.As(err, &said) {
		peer = Closed{Code: said.code, Reason: said.reason}
	}
	s.socket.closed.CompareAndSwap(nil, &peer)
	closed := *s.socket.closed.Load()
	closed.Err = s.refusal.end(s.cfg)
	s.ended(closed)
}

// Close ends the session with a close code and a reason, soon. It does not block.
func (s *Session) Close(code int, reason string) { s.socket.Close(code, reason) }

// End cuts the connection without waiting for the peer. It does not block.
func (s *Session) End() { _ = s.socket.conn.Close() }

// Silent is for how long nothing has come from the peer.
func (s *Session) Silent() time.Duration {
	return time.Duration(clock(time.Now()) - s.socket.conn.lastIn.Load())
}

// Stats are a session's figures for operators.
type Stats struct {
	Since               time.Time
	FramesIn, FramesOut int64
	BytesIn, BytesOut   int64
	Queued              int // bytes that wait for a slow client
	RoundTrip           time.Duration
}

// Stats returns the session's figures as they are now.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	queued := s.queued
	s.mu.Unlock()
	c := s.socket.conn
	return Stats{
		Since: s.since, FramesIn: s.frames.in.Load(), FramesOut: s.frames.out.Load(),
		BytesIn: c.in.Load(), BytesOut: c.out.Load(), Queued: queued, RoundTrip: c.roundTrip(),
	}
}

// Traffic returns the counts among the Stats, at less cost.
func (s *Session) Traffic() (framesIn, framesOut, bytesIn, bytesOut int64) {
	c := s.socket.conn
	return s.frames.in.Load(), s.frames.out.Load(), c.in.Load(), c.out.Load()
}

// read handles messages until reading fails.
func (s *Session) read() error {
	in := &s.socket.in
	for {
		kind, err := in.next()
		switch {
		case err != nil:
		case s.socket.closed.Load() != nil: // only the peer's close frame is awaited
			_, err = io.Copy(io.Discard, in)
		case s.refusal.pending():
			var n int64
			n, err = io.Copy(io.Discard, in)
			s.slow(s.guard.Received(int(n)))
		case kind != ws.OpBinary:
			s.refuse(closecode.Text, "Text frames are not supported", errText)
			_, err = io.Copy(io.Discard, in)
		default:
			err = s.message(in)
		}
		if err != nil {
			return err
		}
	}
}

// message reads one message and handles it. Only a failed read is returned.
func (s *Session) message(r *frames) error {
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	defer s.forget()
	var limit *tooLargeError
	frame, err := s.readMessage(r, (*buffer)[:0])
	*buffer = frame
	switch {
	case errors.As(err, &limit):
		*buffer = nil
		s.forget()
		s.refuse(closecode.TooLarge, limit.Error(), limit)
		_, err = io.Copy(io.Discard, r)
		return err
	case errors.Is(err, errCrowded):
		*buffer = nil // others may use the room while the rest is discarded
		s.forget()
		s.Close(closecode.TryAgain, closecode.ReasonTryAgain)
		_, err = io.Copy(io.Discard, r)
		return err
	case err != nil:
		return err
	}
	first := s.frames.in.Add(1) == 1
	m, err := wire.Decode(frame)
	var answered, worked int
	if first && wire.IsHocuspocus(frame) {
		err = errHocuspocus
	}
	if err == nil {
		answered, err = s.handle(m)
		if m.Kind == wire.Step2 || m.Kind == wire.Update {
			worked = s.seat.Worked()
		}
	}
	wait := s.guard.Received(len(frame) + worked)
	if m.Kind == wire.Step1 {
		wait = max(wait, s.guard.Answered(answered))
	}
	if err != nil {
		s.Fail(&MessageError{m.Kind, err})
	}
	s.slow(wait)
	return nil
}

// slow lets time pass before more is read.
func (s *Session) slow(wait time.Duration) {
	if wait > 0 {
		pause(s.ctx, wait)
		s.socket.conn.lastIn.Store(clock(time.Now())) // not its fault
	}
}

// pause slows a client down: what it sends meanwhile waits in its socket.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(min(d, maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// maxPause keeps a session that is slowed down from looking dead to itself.
const maxPause = 10 * time.Second

// handle does what a message asks for. answered is the size of a SyncStep2.
func (s *Session) handle(m wire.Received) (answered int, err error) {
	switch m.Kind {
	case wire.Step1:
		return s.seat.Step1(m.Payload)
	case wire.Step2, wire.Update:
		return 0, s.edit(m)
	case wire.Awareness:
		return 0, s.seat.Awareness(m.Payload)
	case wire.QueryAwareness:
		s.seat.QueryAwareness()
	case wire.SyncStatus:
		if !s.dropped { // else something that it sent will never be saved
			s.seat.Ask(m.Payload)
		}
	}
	return 0, nil
}

// edit applies an update; a session that may only read is told so if the update
// would have changed anything.
func (s *Session) edit(m wire.Received) error {
	if s.readOnly {
		brings, err := s.seat.Brings(m.Payload)
		if err == nil && brings {
			s.dropped = true
			s.Send(wire.NewMessage(wire.PermissionDenied, []byte("read-only")))
		}
		return err
	}
	var start time.Time
	sampled := s.cfg.Applied != nil && s.frames.in.Load()%sampleEvery == 0
	if sampled {
		start = time.Now()
	}
	apply := s.seat.Apply
	if m.Kind == wire.Step2 {
		apply = s.seat.Answer
	}
	fresh, err := apply(m.Payload)
	if err != nil || !fresh {
		return err
	}
	if sampled {
		s.cfg.Applied(time.Since(start))
	}
	if reason := s.guard.Operation(); reason != "" {
		s.refuse(closecode.Rate, reason, errRate)
	}
	return nil
}

// sampleEvery is how many frames share a look at the clock.
const sampleEvery = 16

// tooLargeError names the limit that a message exceeds.
type tooLargeError struct{ limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("Message too large: limit %d bytes", e.limit)
}

// readMessage reads a message into buf, growing it as bytes arrive: a length that
// is only announced costs nothing.
func (s *Session) readMessage(r *frames, buf []byte) ([]byte, error) {
	var t *transfer
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		if t == nil && len(buf) >= readBuffer && !r.whole() {
			t = s.begin()
		}
		if t != nil && !s.account(t, cap(buf)) {
			return buf, errCrowded
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if t != nil {
			t.got.Add(int64(n))
		}
		if len(buf) > s.cfg.MaxMessageBytes+framing {
			if limit := s.limitOf(buf); len(buf) > limit+framing {
				return buf, &tooLargeError{limit: limit}
			}
		}
		if err == io.EOF {
			if t != nil {
				t.got.Store(allCame)
			}
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// framing is what a message may have besides the update that is limited.
const framing = 16

// limitOf returns the limit for a message by how it begins.
func (s *Session) limitOf(head []byte) int {
	if m, err := wire.Decode(head[:min(len(head), 2)]); head[0] == 0 && (err != nil || m.Kind != wire.Unknown) && head[1] == 1 {
		return s.cfg.MaxDocumentBytes
	}
	return s.cfg.MaxMessageBytes
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxKeptBuffer keeps a rare large message from staying in memory.
const maxKeptBuffer = 256 << 10

func putBuffer(b *[]byte) {
	if cap(*b) <= maxKeptBuffer {
		buffers.Put(b)
	}
}
