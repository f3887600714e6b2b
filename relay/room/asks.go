package room

import (
	"bytes"
	"slices"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// A client may ask to be told when everything that it sent is saved. Its answer
// waits for everything that the room holds by then, whoever wrote it: what the
// client sent may have come here before it, by another pod, or by an earlier
// connection of its own. What other pods published is theirs to append, so they are
// asked in turn, one question at a time each, and only while a client waits.

// ask is a client's open question.
type ask struct {
	done    chan struct{} // closed as the answer, if it is the room's own question
	seat    *Seat
	number  uint64 // of the last change that the room had taken by then
	payload []byte // returned as it came
	owed    int32  // instead of a question: so many acknowledgements
	at      int64  // by clock
}

// lenient reports whether the answer takes a history at its word that does not promise
// durability.
func (a ask) lenient() bool { return a.owed > 0 || a.seat != nil && a.seat.counts }

const (
	// maxAsks bounds the open questions of a session; one more takes the place of
	// its latest.
	maxAsks = 64
	// maxAskBytes bounds what a question holds; a larger one is not answered.
	maxAskBytes = 256
	// peerAnswers is how long another pod has to say that its changes are durable.
	// Then this room appends a snapshot, which holds them.
	peerAnswers = 2 * time.Second
)

// Ask takes a client's question whether everything that it sent before is durable.
// The answer is sent as soon as it is, and never before. In a history that does not
// promise durability there is none. Of an app that wants it so, the answer waits until
// the store has everything; see stored.go.
func (s *Seat) Ask(payload []byte) {
	r := s.room
	if len(payload) > maxAskBytes || r.rooms.cfg.Relaxed && !s.stored && !s.counts {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.index < 0 || s.stored && !r.storable() {
		return
	}
	if r.holds.stopped && s.held != nil {
		s.held.ask(payload)
		return
	}
	if err := s.release(); err != nil {
		s.member.Fail(err)
		return
	}
	s.question(payload)
}

// question takes a question behind everything that the room has taken. Callers hold mu.
func (s *Seat) question(payload []byte) {
	r := s.room
	if s.asks == maxAsks {
		s.sendAnswers()
	}
	if s.asks == maxAsks {
		if _, ok := s.withdraw(func(a ask) bool { return a.owed == 0 }); !ok {
			return // its answers wait for it, and it will ask again
		}
	}
	s.asks++
	r.asks = append(r.asks, ask{seat: s, number: r.log.water.taken, payload: bytes.Clone(payload), at: clock()})
	r.answerAsks()
}

// Acknowledge has the member sent one SyncStatus without content as soon as what it sent
// before, and everything else that the room holds by now, is durable: for clients that
// count what they sent. So none is ever left out. A history that does not promise
// durability is taken at its word, and other pods, which would not answer, are not asked.
// Where an acknowledgement means stored, and no store keeps this life of the document,
// there is none: the client goes on saying that its edits are not saved.
func (s *Seat) Acknowledge() {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.index < 0 {
		return
	}
	if s.held != nil {
		s.held.acks++
		return
	}
	s.acknowledge(1)
}

// Counts says that the member's questions stand for acknowledgements: it is a node that
// carries a client which counts what it sent.
func (s *Seat) Counts() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.counts = true
}

func (s *Seat) acknowledge(owed int32) {
	r := s.room
	if s.stored && !r.storable() {
		return
	}
	last := len(r.asks) - 1
	if last >= 0 && r.asks[last].seat == s && r.asks[last].owed > 0 && r.asks[last].number == r.log.water.taken {
		r.asks[last].owed += owed
		r.answerAsks()
		return
	}
	if s.asks == maxAsks { // the latest waits for this as well
		latest, _ := s.withdraw(func(a ask) bool { return a.owed > 0 })
		owed += latest.owed
	}
	s.asks++
	r.asks = append(r.asks, ask{seat: s, number: r.log.water.taken, owed: owed, at: clock()})
	r.answerAsks()
}

// withdraw takes the member's latest open question of a kind back, if there is one.
func (s *Seat) withdraw(kind func(ask) bool) (latest ask, ok bool) {
	r := s.room
	for _, open := range []*[]ask{&r.asks, &r.unstored} { // those that wait for the store are older
		for i, a := range slices.Backward(*open) {
			if a.seat == s && kind(a) {
				*open = slices.Delete(*open, i, i+1)
				s.asks--
				return a, true
			}
		}
	}
	return ask{}, false
}

// forgetAsks takes all open questions of a kind back.
func (s *Seat) forgetAsks(kind func(ask) bool) {
	if s.asks == 0 {
		return
	}
	r := s.room
	forgotten := func(a ask) bool {
		if a.seat != s || !kind(a) {
			return false
		}
		s.asks--
		return true
	}
	r.asks = slices.DeleteFunc(r.asks, forgotten)
	r.unstored = slices.DeleteFunc(r.unstored, forgotten)
	r.awaitStore()
}

// durable is the number up to which everything that the room holds is durable.
// Callers hold mu.
func (r *Room) durable() uint64 {
	w := &r.log.water
	return r.peers.lowest(w, w.lowest(w.own()+1, w.unconfirmed)) - 1
}

// answerAsks answers the questions that can be, and pursues what the others wait
// for. Callers hold mu.
func (r *Room) answerAsks() {
	r.answerPeers()
	if len(r.asks) == 0 {
		return
	}
	durable, answered := r.durable(), 0
	own := durable
	if r.rooms.cfg.Relaxed {
		own = r.log.water.own()
	}
	for _, a := range r.asks {
		if a.number > durable && (!a.lenient() || a.number > own) {
			break
		}
		answered++
		switch {
		case a.done != nil:
			close(a.done)
		case a.seat.stored && a.number > r.log.stored:
			r.unstored = append(r.unstored, a)
		default:
			r.giveAnswer(a)
		}
	}
	r.asks = slices.Delete(r.asks, 0, answered)
	r.sendAnswersSoon()
	r.awaitStore()
	if n := len(r.asks); n > 0 && !(r.rooms.cfg.Relaxed && r.asks[n-1].lenient()) {
		r.pursue(r.asks[n-1].number)
	}
}

// pursue does what must be done for everything up to number to become durable,
// besides waiting: other pods are asked about what they published, and what perhaps
// nobody else holds is owed to the history. Callers hold mu.
func (r *Room) pursue(number uint64) {
	w := &r.log.water
	if s := w.unconfirmed.above(w.covered); s.low != 0 && s.low <= number && w.covers < s.high {
		r.log.owe()
		r.scheduleLocked(true)
	}
	if r.peers.pursue(w, number) {
		r.signal()
	}
}

// overdue gives up on pods that were asked and do not answer: what they published
// is unconfirmed. Callers hold mu.
func (r *Room) overdue() {
	if len(r.asks) == 0 {
		return
	}
	r.log.water.unconfirmed = r.log.water.unconfirmed.with(r.peers.giveUp())
	r.answerAsks()
}

// receiveAsk takes another pod's question whether everything that this room's own
// clients wrote by now is durable.
func (e *exchange) receiveAsk(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	pod, echo := rd.String(), rd.Uvarint()
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, _ := e.hear(from)
	p.pod = pod
	r.peers.asks(p, echo, r.log.water.taken)
	r.answerPeers()
}

// answerPeers answers the pods that asked, as far as that can be done. Callers hold
// mu.
func (r *Room) answerPeers() {
	if r.peers.asking > 0 && !r.rooms.cfg.Relaxed && r.peers.answer(r.log.water.own()) {
		r.signal()
	}
}

// signal has the questions and answers sent that are due to other pods. Callers hold mu.
func (r *Room) signal() {
	r.out.signals = true
	r.scheduleLocked(true)
}

// receiveSaved takes the answer to a question.
func (e *exchange) receiveSaved(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	echo := rd.Uvarint()
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers.confirm(from, echo) {
		r.answerAsks()
	}
}
