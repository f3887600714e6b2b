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

// pursue has the pods asked that published something up to a number and were not asked yet.
// It reports whether there are any.
func (ps *peers) pursue(w *watermark, number uint64) (due bool) {
	for _, p := range ps.heard {
		if s := p.open.above(w.covered); s.low != 0 && s.low <= number && p.asking == 0 {
			p.asking, p.askedAt, p.askDue, due = w.taken, clock(), true, true
		}
	}
	return due
}

// giveUp returns what those published that were asked and do not answer: nobody will say
// any more that it is durable.
func (ps *peers) giveUp() (open span) {
	for _, p := range ps.heard {
		if p.asking != 0 && clock()-p.askedAt > int64(peerAnswers) {
			open = open.with(p.open)
			p.asking, p.open = 0, span{}
		}
	}
	return open
}

// confirm takes the answer of a room. It reports whether it was asked that.
func (ps *peers) confirm(id oplog.ID, question uint64) bool {
	p := ps.heard[id]
	if p == nil || p.asking != question {
		return false
	}
	p.open, p.asking = p.open.above(question), 0
	return true
}

// asks takes the question of a room, whose answer is due when everything up to need is
// durable. It takes the place of an earlier one.
func (ps *peers) asks(p *peer, question, need uint64) {
	if p.echo == 0 {
		ps.askers++
	}
	p.echo, p.need = question, need
}

// answer has the rooms answered whose answer is due. It reports whether there are any.
func (ps *peers) answer(durable uint64) (due bool) {
	for _, p := range ps.heard {
		if p.echo != 0 && p.need <= durable {
			p.answer, p.echo, due = p.echo, 0, true
			ps.askers--
		}
	}
	return due
}

// questions are the questions and answers that are due, of the room me on pod.
func (ps *peers) questions(me oplog.ID, pod string) (due []addressed) {
	for id, p := range ps.heard {
		if p.askDue && p.pod != "" {
			due = append(due, addressed{p.pod, oplog.AppendAsk(nil, me, id, pod, p.asking)})
		}
		if p.answer != 0 {
			due = append(due, addressed{p.pod, oplog.AppendSaved(nil, me, id, p.answer)})
		}
		p.askDue, p.answer = false, 0
	}
	return due
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
	e.answer()
}

// answer answers the pods that asked, as far as that can be done. Callers hold mu.
func (e *exchange) answer() {
	r := e.room
	if r.peers.askers > 0 && !r.rooms.cfg.Relaxed && r.peers.answer(r.log.water.own()) {
		r.out.signal()
	}
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
		r.asks.settle()
	}
}
