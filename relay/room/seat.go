package room

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Member is a client connection as its room sees it. The room calls it under its
// lock: no method may block or call back into the room.
type Member interface {
	// Prefetch reads what Send will need from memory, and does nothing.
	Prefetch()
	// Send hands a message over, of which the member may keep frames but not the
	// message. false: the member's queue is full with it, nothing more may be sent
	// until the member calls Seat.Thaw.
	Send(*wire.Message) bool
	// SendAnswers is Send for answers to the member's questions whether what it sent is
	// saved, by their payloads, of which the member keeps none; nil is an acknowledgement.
	// m goes behind them, in the same system call if the socket takes it; nil: nothing does.
	SendAnswers(payloads [][]byte, m *wire.Message) bool
	// Await asks for a call of Seat.Thaw, by another goroutine, when all that was sent
	// has been taken by the member's socket.
	Await()
	// SendAwareness hands awareness over, encoded in the message. A member that is
	// behind may keep only which clients the entries were about, and fetch their
	// newest states later by Seat.Newest.
	SendAwareness(m *wire.Message, entries []awareness.Entry)
	// Close ends the connection soon, with a WebSocket close code and a reason.
	Close(code int, reason string)
	// Fail is Close for an error that Apply might have returned.
	Fail(err error)
	// Ping asks the client for a sign of life, and Silent says for how long none has
	// come. It is asked every 20 s anyway.
	Ping()
	Silent() time.Duration
}

// Seat is a member's place in a room. Its exported methods take Room.mu; callers of the others
// hold it.
type Seat struct {
	room   *Room
	member Member

	// Guarded by room.mu. What each message to the members touches stands first, as in
	// conn.Conn.
	behind      *behind  // nil: the member is sent everything at once
	due         *answers // that have not been sent; nil: none are
	index       int      // in members.seats; -1 once left
	aware       awareness.Session
	contestedAt *time.Time // when another user claimed a client of this session's; nil: none does
	held        *held      // of the member's updates; nil: nothing is
	step1At     int64      // when the last SyncStep1 but the first was sent, by clock
	asks        int32      // questions whether all is saved, unless their answers were sent
	counts      bool       // questions stand for acknowledgements; see Counts
	stored      bool       // answers wait for the store, too; see stored.go
	awaited     bool       // a SyncStep1 was sent, and the answer has not come
	step1Due    bool       // another is to be sent

	stateless bool // the app wants stateless messages; static after Join
	worked    int  // see Worked; owned by who calls Apply, Answer, Brings and Awareness
}

// behind is what a member is owed whose socket does not keep up, or that gets a difference
// in pieces: nothing is sent to it until its queue is empty. Idle members have none.
type behind struct {
	progress  ystore.Progress // what the member's queue leads up to
	course    *course         // the pieces that others share, or nil
	at, since int             // pieces of the course that were sent, and that progress knows of
	questions int             // SyncStep1 that came meanwhile, or wait for the end of the course
}

// Join admits a member. It is sent the room's SyncStep1, so that edits made offline are
// uploaded, and the known awareness states. user tells whose session it is; see
// awareness.Session.
func (r *Room) Join(m Member, user uint64) (*Seat, error) {
	asks := r.rooms.cfg.AckStored
	s := &Seat{room: r, member: m, aware: awareness.Session{User: user}, stored: asks != nil && asks(r.doc.AppID())}
	if wants := r.rooms.cfg.Stateless; wants != nil {
		s.stateless = wants(r.doc.AppID())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.members.add(s)
	s.awaited = true
	s.sendNew(wire.Step1, r.content.store.StateVector())
	s.sendStates()
	return s, nil
}

// Greet sends the member another SyncStep1, which asked for one. What it sent before is
// not acknowledged any more: it counts from there.
func (s *Seat) Greet() {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.index < 0 {
		return
	}
	s.forgetAnswers(false)
	if s.held != nil {
		s.held.acks = 0
	}
	r.asks.forget(s, func(a ask) bool { return a.owed > 0 })
	s.awaited, s.step1Due, s.step1At = true, false, clock()
	s.sendNew(wire.Step1, r.content.store.StateVector())
}

// Leave gives the seat back; the clients that it introduced leave with it. It
// returns how many members stay.
func (s *Seat) Leave() int {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.index < 0 {
		return len(r.members.seats)
	}
	if s.room.holds.stopped {
		s.leaveHeld()
	}
	_ = s.release() // nobody is left to be told of an error
	r.asks.forget(s, func(ask) bool { return true })
	s.forgetAnswers(true)
	r.members.remove(s)
	r.presence.leave(s, time.Now())
	return len(r.members.seats)
}

// Client returns the awareness client that the session speaks for, 0 if it has
// not said.
func (s *Seat) Client() uint64 {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.aware.Self
}

// clientWork is what looking at one client id costs in answers, in their bytes: a short
// question about a document of many costs much, however short the answer is.
const clientWork = 64

// Step1 answers a client's SyncStep1 with exactly one SyncStep2: the structs
// that it lacks and the whole delete set. It returns the size of the answer, or of what
// was looked at for it if that is more.
func (s *Seat) Step1(stateVector []byte) (answered int, err error) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members.sendGathered() // which may freeze this member
	p, err := ystore.ReadProgress(stateVector)
	if err != nil {
		return 0, err
	}
	switch {
	case s.behind != nil:
		// The first may ask for more than what the queue leads up to; the others are older
		// than its answer.
		if s.behind.questions++; s.behind.questions == 1 {
			s.behind.begin(p, nil)
		}
		return 0, nil
	case p.None() && r.content.store.Stats().Bytes <= ystore.MaxMessage:
		whole := r.content.whole()
		s.send(whole)
		return len(whole.Payload()), nil
	case p.None():
		s.catchUp(p, r.content.pieces())
		s.behind.questions = 1
		return r.content.store.Stats().Bytes, nil
	}
	stats := r.content.store.Stats()
	if stats.Bytes > ystore.MaxMessage && r.content.store.Lacks(p, ystore.MaxMessage) >= ystore.MaxMessage {
		s.catchUp(p, nil)
		s.behind.questions = 1
		return r.content.store.Lacks(p, math.MaxInt), nil
	}
	answer := &r.members.message
	answer.SetAround(wire.Step2, r.content.store.Rest(p, wire.Headroom))
	answer.Own = true
	answered = len(answer.Payload())
	s.send(answer)
	*answer = wire.Message{}
	return max(answered, clientWork*stats.Clients), nil
}

// Apply takes an update from the client: it is checked, applied, and what is new in it
// goes to everyone else. It reports whether anything was. A malformed update changes
// nothing and reaches nobody. One that opens a gap may be held for a moment.
func (s *Seat) Apply(update []byte) (fresh bool, err error) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	defer s.workSince(s.room.content.store.Work())
	fresh, err = s.take(update)
	return fresh || s.takeSound(update, err), err
}

// Answer is Apply for a SyncStep2: what it leaves open is not known to the client.
func (s *Seat) Answer(update []byte) (fresh bool, err error) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	defer s.workSince(s.room.content.store.Work())
	s.awaited = false
	if s.room.holds.stopped {
		return s.holdStopped(update)
	}
	fresh, err = s.apply(update, ystore.Terms{Limited: true})
	fresh = fresh || s.takeSound(update, err)
	return fresh, errors.Join(err, s.release())
}

func (s *Seat) apply(update []byte, t ystore.Terms) (fresh bool, err error) {
	r := s.room
	if err := r.content.fits(update, r.rooms.cfg.MaxAppBytes); err != nil {
		return false, err
	}
	changes, err := r.apply(update, s, t)
	if err != nil || changes == nil {
		return false, err
	}
	r.rooms.Counters.EditsIn.Add(1)
	r.activity.edited()
	r.log.takeEdit(changes, !r.peers.alone())
	return true, nil
}

// Brings reports whether an update would change the document, for sessions that
// may not change it.
func (s *Seat) Brings(update []byte) (bool, error) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	defer s.workSince(s.room.content.store.Work())
	return s.room.content.store.Brings(update)
}

// workSince adds what the store has worked since to what the member is charged for.
func (s *Seat) workSince(before int) { s.worked += s.room.content.store.Work() - before }

// Worked returns what the member's updates and awareness cost beyond their bytes since it was asked
// last, as if it were bytes. It must not be called beside Apply, Answer, Brings and Awareness.
func (s *Seat) Worked() (work int) {
	work, s.worked = s.worked, 0
	return work
}

// stateWork is what one entry of an awareness update costs beyond its bytes, of which there
// are three at least: it is judged, and looked for.
const stateWork = 32

// entryBuffers are for updates with very many entries: of a megabyte of them, entries take
// three.
var entryBuffers = sync.Pool{New: func() any { return new([]awareness.Entry) }}

// Awareness takes an awareness update from the client. What is news goes to all
// members, the sender included: y-websocket counts on the echo.
func (s *Seat) Awareness(update []byte) error {
	var drops awareness.Drops
	buffer := entryBuffers.Get().(*[]awareness.Entry)
	defer entryBuffers.Put(buffer)
	entries, err := awareness.DecodeInto(*buffer, update, &drops)
	s.worked += stateWork * (len(entries) + drops.Large + drops.Invalid)
	if err != nil {
		return err
	}
	*buffer = entries
	defer clear(entries) // they alias the message
	r := s.room
	r.rooms.dropped(r.doc, drops)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.index < 0 {
		return nil
	}
	tombstones := r.presence.fromSession(s, entries, time.Now())
	if len(tombstones) > 0 {
		s.sendAwareness(tombstones)
	}
	return nil
}

// QueryAwareness sends the client all known awareness states.
func (s *Seat) QueryAwareness() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.sendStates()
}

// Newest returns the newest awareness of the clients in seen, given the clocks
// that were to be sent last, as one awareness update.
func (s *Seat) Newest(seen map[uint64]uint64) []byte {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	entries := make([]awareness.Entry, 0, len(seen))
	for client, clock := range seen {
		entries = append(entries, s.room.presence.set.Newest(client, clock))
	}
	return awareness.Append(nil, entries)
}

// Thaw sends a member that had fallen behind, or gets a difference in pieces, and whose
// queue is empty now, what follows on what it was sent before.
func (s *Seat) Thaw() {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.behind == nil || s.index < 0 {
		return
	}
	r.members.sendGathered() // the difference holds it
	if piece, ok := s.nextPiece(); ok {
		s.member.Send(piece)
		s.member.Await()
		return
	}
	rest, was := s.restMessage(), s.behind
	s.behind = nil
	s.send(rest)
	for questions := was.questions; questions > 1; questions-- { // each has its answer
		if s.behind != nil {
			s.behind.questions = questions - 1
			return
		}
		s.sendNew(wire.Step2, nothing)
	}
	s.sendAnswers()
}

// nothing is an update without content.
var nothing = []byte{0, 0}

// sendNew sends the member a message of its own.
func (s *Seat) sendNew(kind wire.Kind, payload []byte) {
	if s.behind != nil {
		return
	}
	m := &s.room.members.message
	m.Set(kind, payload)
	s.send(m)
	*m = wire.Message{}
}

func (s *Seat) send(m *wire.Message) {
	if s.behind != nil {
		return
	}
	taken := false
	if s.due == nil {
		taken = s.member.Send(m)
	} else {
		taken = s.sendDue(m)
	}
	if !taken {
		s.freeze()
	}
}

// freeze has the member sent nothing until it calls Thaw.
func (s *Seat) freeze() {
	s.behind = &behind{progress: s.room.content.store.Progress()}
	s.room.rooms.Counters.Frozen.Add(1)
}

func (s *Seat) sendStates() {
	if states := s.room.presence.set.States(); len(states) > 0 {
		s.sendAwareness(states)
	}
}

// sendAwareness sends the member entries that are for it alone.
func (s *Seat) sendAwareness(entries []awareness.Entry) {
	m := &s.room.members.message
	m.Set(wire.Awareness, awareness.Append(nil, entries))
	s.member.SendAwareness(m, entries)
	*m = wire.Message{}
}
