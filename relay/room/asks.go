package room

import (
	"bytes"
	"slices"
	"time"
)

// A client may ask to be told when everything that it sent is saved. Its answer
// waits for everything that the room holds by then, whoever wrote it: what the
// client sent may have come here before it, by another pod, or by an earlier
// connection of its own. What other pods published is theirs to append, so they are
// asked in turn, one question at a time each, and only while a client waits.

// questions are those of the clients. One stands in open, in the order of their numbers,
// until everything up to its number is durable; then, if its member is to be told only when
// the store has that, in unstored; and then with its member, until the answer is sent. A
// seat's asks counts its questions in the first two places, and those with a payload in the
// third. awaited says that unstored is not empty, as Kept was told. Guarded by Room.mu.
type questions struct {
	room     *Room
	open     []ask
	unstored []ask
	awaited  bool

	// See answers.go.
	answered []*Seat  // that had no answers due when they got one, since answers were sent last
	sendAt   int64    // when those that wait for a message are sent without one, by clock; 0: none do
	payloads [][]byte // of answers that are being sent; empty otherwise
}

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
	if s.index < 0 || s.stored && !r.storing.storable() {
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

// question takes a question behind everything that the room has taken.
func (s *Seat) question(payload []byte) {
	r := s.room
	if s.asks == maxAsks {
		s.sendAnswers()
	}
	if s.asks == maxAsks {
		if _, ok := r.asks.withdraw(s, func(a ask) bool { return a.owed == 0 }); !ok {
			return // its answers wait for it, and it will ask again
		}
	}
	r.asks.add(ask{seat: s, payload: bytes.Clone(payload)})
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
	if s.stored && !r.storing.storable() {
		return
	}
	if r.asks.addTo(s, owed) {
		return
	}
	if s.asks == maxAsks { // the latest waits for this as well
		latest, _ := r.asks.withdraw(s, func(a ask) bool { return a.owed > 0 })
		owed += latest.owed
	}
	r.asks.add(ask{seat: s, owed: owed})
}

// add takes a question behind everything that the room has taken.
func (qs *questions) add(a ask) {
	a.number, a.at = qs.room.log.water.taken, clock()
	if a.seat != nil {
		a.seat.asks++
	}
	qs.open = append(qs.open, a)
	qs.answerDue()
}

// addTo adds acknowledgements to a member's question for some, if that is the last and
// nothing was taken since.
func (qs *questions) addTo(s *Seat, owed int32) bool {
	last := len(qs.open) - 1
	if last < 0 || qs.open[last].seat != s || qs.open[last].owed == 0 || qs.open[last].number != qs.room.log.water.taken {
		return false
	}
	qs.open[last].owed += owed
	qs.answerDue()
	return true
}

// withdraw takes a member's latest open question of a kind back, if there is one.
func (qs *questions) withdraw(s *Seat, kind func(ask) bool) (latest ask, ok bool) {
	for _, open := range []*[]ask{&qs.open, &qs.unstored} { // those that wait for the store are older
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

// forget takes all of a member's open questions of a kind back.
func (qs *questions) forget(s *Seat, kind func(ask) bool) {
	if s.asks == 0 {
		return
	}
	forgotten := func(a ask) bool {
		if a.seat != s || !kind(a) {
			return false
		}
		s.asks--
		return true
	}
	qs.open = slices.DeleteFunc(qs.open, forgotten)
	qs.unstored = slices.DeleteFunc(qs.unstored, forgotten)
	qs.awaitStore()
}

// drop forgets all questions: whoever asked learns nothing, and asks again elsewhere.
func (qs *questions) drop() { qs.open, qs.unstored = nil, nil }

// durable is the number up to which everything that the room holds is durable.
func (qs *questions) durable() uint64 {
	r, w := qs.room, &qs.room.log.water
	return r.peers.lowest(w, w.lowest(w.own()+1, w.unconfirmed)) - 1
}

// answerDue answers the questions that can be, and pursues what the others wait for.
func (qs *questions) answerDue() {
	if len(qs.open) == 0 {
		return
	}
	r := qs.room
	durable, answered := qs.durable(), 0
	own := durable
	if r.rooms.cfg.Relaxed {
		own = r.log.water.own()
	}
	for _, a := range qs.open {
		if a.number > durable && (!a.lenient() || a.number > own) {
			break
		}
		answered++
		switch {
		case a.done != nil:
			close(a.done)
		case a.seat.stored && a.number > r.storing.stored:
			qs.unstored = append(qs.unstored, a)
		default:
			qs.give(a)
		}
	}
	qs.open = slices.Delete(qs.open, 0, answered)
	qs.sendSoon()
	qs.awaitStore()
	if n := len(qs.open); n > 0 && !(r.rooms.cfg.Relaxed && qs.open[n-1].lenient()) {
		qs.pursue(qs.open[n-1].number)
	}
}

// pursue does what must be done for everything up to number to become durable,
// besides waiting: other pods are asked about what they published, and what perhaps
// nobody else holds is owed to the history.
func (qs *questions) pursue(number uint64) {
	r, w := qs.room, &qs.room.log.water
	if s := w.unconfirmed.above(w.covered); s.low != 0 && s.low <= number && w.covers < s.high {
		r.log.owe()
		r.out.schedule(true)
	}
	if r.peers.ask(w, number) {
		r.out.signal()
	}
}

// tick gives up on pods that were asked and do not answer: what they published is
// unconfirmed.
func (qs *questions) tick() {
	if len(qs.open) > 0 {
		r := qs.room
		r.log.water.unconfirm(r.peers.giveUp())
		qs.answerDue()
	}
}
