package room

import "github.com/wsnode/wsnode/relay/oplog"

// What another pod published is durable when that pod says so: it is asked, one question
// at a time, and only while a client here waits for the answer.

// addressed is a message for one room on another pod.
type addressed struct {
	pod  string
	data []byte
}

// lowest is watermark.lowest for what the pods have not said to be durable.
func (ps *peers) lowest(w *watermark, low uint64) uint64 {
	for _, p := range ps.heard {
		low = w.lowest(low, p.open)
	}
	return low
}

// ask has the rooms asked that published something up to a number and were not asked yet.
// It reports whether there are any.
func (ps *peers) ask(w *watermark, number uint64) (due bool) {
	for _, p := range ps.heard {
		if s := p.open.above(w.covered); s.low != 0 && s.low <= number && p.askedUpTo == 0 {
			p.askedUpTo, p.askedAt, p.askDue, due = w.taken, clock(), true, true
		}
	}
	return due
}

// giveUp returns what those published that were asked and do not answer: nobody will say
// any more that it is durable.
func (ps *peers) giveUp() (open span) {
	for _, p := range ps.heard {
		if p.askedUpTo != 0 && clock()-p.askedAt > int64(peerAnswers) {
			open = open.with(p.open)
			p.askedUpTo, p.open = 0, span{}
		}
	}
	return open
}

// answered takes the answer of a room. It reports whether that was its question.
func (ps *peers) answered(id oplog.ID, question uint64) bool {
	p := ps.heard[id]
	if p == nil || p.askedUpTo != question {
		return false
	}
	p.open, p.askedUpTo = p.open.above(question), 0
	return true
}

// asked takes the question of a room, whose answer is due when everything up to a number is
// durable. It takes the place of an earlier one.
func (ps *peers) asked(p *peer, question, need uint64) {
	if p.question == 0 {
		ps.askers++
	}
	p.question, p.needs = question, need
}

// answers has the rooms answered whose questions were up to a number. It reports whether
// there are any.
func (ps *peers) answers(durable uint64) (due bool) {
	for _, p := range ps.heard {
		if p.question != 0 && p.needs <= durable {
			p.answerDue, p.question, due = p.question, 0, true
			ps.askers--
		}
	}
	return due
}

// due takes the questions and answers that have yet to be sent, of the room me on pod.
func (ps *peers) due(me oplog.ID, pod string) (due []addressed) {
	for id, p := range ps.heard {
		if p.askDue && p.pod != "" {
			due = append(due, addressed{p.pod, oplog.AppendAsk(nil, me, id, pod, p.askedUpTo)})
		}
		if p.answerDue != 0 {
			due = append(due, addressed{p.pod, oplog.AppendSaved(nil, me, id, p.answerDue)})
		}
		p.askDue, p.answerDue = false, 0
	}
	return due
}

// receiveAsk takes another pod's question whether everything that this room's own
// clients wrote by now is durable.
func (e *exchange) receiveAsk(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	pod, question := rd.String(), rd.Uvarint()
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, _ := e.hear(from)
	p.pod = pod
	r.peers.asked(p, question, r.log.water.taken)
	e.answerAskers()
}

// answerAskers answers the pods that asked, as far as that can be done. Callers hold mu.
func (e *exchange) answerAskers() {
	r := e.room
	if r.peers.askers > 0 && !r.rooms.cfg.Relaxed && r.peers.answers(r.log.water.own()) {
		r.out.signal()
	}
}

// receiveSaved takes the answer to a question.
func (e *exchange) receiveSaved(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	question := rd.Uvarint()
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers.answered(from, question) {
		r.asks.answerDue()
	}
}
