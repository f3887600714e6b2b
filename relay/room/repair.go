package room

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
)

// wantTimeout is how long a difference may take before it is asked for again.
const wantTimeout = 2 * time.Second

// Receive takes what other pods publish about the document. data is not kept.
func (e *exchange) Receive(subject, reply string, data []byte) {
	r := e.room
	at := r.at.now()
	switch subject {
	case at.updates:
		e.receiveLog(data)
	case at.signals:
		e.receiveSignal(at, reply, data)
	}
}

// receiveLog takes a log message of another pod.
func (e *exchange) receiveLog(data []byte) {
	r := e.room
	m, err := oplog.Read(data)
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	if m.Room == r.id || m.Room == oplog.NoRoom {
		return
	}
	r.mu.Lock()
	p, isNew := e.hear(m.Room)
	gap := m.Counter > p.counter+1
	p.counter = max(p.counter, m.Counter)
	lossy := gap || p.wanting
	if m.Kind != oplog.Seed && m.Kind != oplog.Stored {
		r.backlog.took(len(m.Body))
		r.storing.change()
	}
	switch {
	case m.Kind == oplog.Seed || m.Kind == oplog.Stored: // what it says is taken when the history is read
		if m.Kind == oplog.Stored {
			r.storing.elsewhere()
		}
	case m.Kind == oplog.Snapshot: // what it holds was published before
		r.backlog.snapshot(len(m.Body))
	case m.Kind == oplog.Partial && m.Part.Kind == oplog.Snapshot:
		if m.Part.Index == m.Part.Count-1 {
			r.backlog.snapshot(m.Part.Count * r.rooms.cfg.History.MaxPayload())
		}
	case m.Kind == oplog.Partial:
		if whole := e.groups.Add(oplog.Key{Room: m.Room, First: m.Part.First}, m.Part, m.Body); whole != nil {
			r.holds.takeFrom(m.Room, whole, lossy)
		}
	default:
		r.holds.takeFrom(m.Room, m.Body, lossy)
	}
	r.mu.Unlock()
	switch {
	case isNew: // what it knows more, and who is there, comes with its answer
		e.meet()
	case gap:
		r.rooms.Counters.Gaps.Add(1)
		e.want(m.Room)
	}
}

// take applies an update of another pod. It reports whether it brought anything.
// Callers hold mu.
func (e *exchange) take(update []byte) (fresh bool) {
	fresh, err := e.room.load(update, ystore.Terms{})
	if err != nil {
		e.room.rooms.refuse(err)
	}
	return fresh
}

// heard numbers a change that another pod published. Who has forgotten it does not know
// whether it is durable. Callers hold mu.
func (e *exchange) heard(from oplog.ID, brought bool) {
	if !brought {
		return
	}
	r := e.room
	if p := r.peers.heard[from]; p != nil {
		p.open = p.open.with(r.log.water.hear())
	} else {
		r.log.water.unconfirm(r.log.water.hear())
	}
}

// receiveSignal takes a message for all rooms of the document.
func (e *exchange) receiveSignal(at subjects, reply string, data []byte) {
	r := e.room
	k, from, body, err := oplog.ReadHeader(data)
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	if from == r.id {
		return
	}
	rd := oplog.Reader{Rest: body}
	tag := rd.Uint64()
	if k == oplog.Who {
		if natsconn.IsInbox(reply) {
			_ = r.rooms.cfg.Bus.Publish(reply, oplog.AppendWho(nil, at.epoch))
		}
		return
	}
	if tag != at.tag {
		return // another life of the document
	}
	switch k {
	case oplog.Hello, oplog.Beacon:
		e.receiveDigest(k, from, &rd)
	case oplog.States:
		e.receiveStates(from, &rd)
	case oplog.Stateless:
		e.receiveStateless(rd.Rest)
	case oplog.Reannounce:
		r.mu.Lock()
		r.presence.reannounce()
		r.mu.Unlock()
	case oplog.Bye:
		now := time.Now()
		r.mu.Lock()
		e.forget(now, from)
		if r.peers.alone() {
			r.peers.look(now, r.rooms.cfg.BeaconEvery)
		}
		r.mu.Unlock()
	}
}

// receiveAddressed takes a message for this room alone.
func (e *exchange) receiveAddressed(k oplog.Kind, from oplog.ID, rd *oplog.Reader) {
	r := e.room
	switch k {
	case oplog.Answer:
		e.receiveDigest(k, from, rd)
	case oplog.States:
		e.receiveStates(from, rd)
	case oplog.Want:
		e.receiveWant(from, rd)
	case oplog.Ask:
		e.receiveAsk(from, rd)
	case oplog.Saved:
		e.receiveSaved(from, rd)
	case oplog.Difference:
		e.receiveDifference(from, rd.Rest)
	case oplog.DifferencePart:
		part := oplog.ReadDifferencePart(rd)
		if rd.Err != nil {
			r.rooms.refuse(rd.Err)
			return
		}
		if whole := e.addPart(from, part, rd.Rest); whole != nil {
			e.receiveDifference(from, whole)
		}
	default:
		r.rooms.refuse(oplog.ErrMalformed)
	}
}

// addPart takes a part of a difference, and returns the whole once it is complete. Of a room
// that is not heard any more nothing is kept: should it come back, it is asked anew.
func (e *exchange) addPart(from oplog.ID, part oplog.Part, body []byte) (whole []byte) {
	r := e.room
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers.heard[from]
	if p == nil {
		return nil
	}
	p.wantedAt, p.asked = time.Now(), 1 // it is on its way
	return e.differences.Add(oplog.Key{Room: from, First: part.First}, part, body)
}

// receiveDigest compares what another room knows with what this one does.
func (e *exchange) receiveDigest(k oplog.Kind, from oplog.ID, rd *oplog.Reader) {
	r := e.room
	d := oplog.ReadDigest(rd)
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	p, isNew := e.hear(from)
	p.pod = d.Pod
	p.counter = max(p.counter, d.Counter)
	lacks, same, err := compare(r.content.store.StateVector(), d.StateVector)
	if err != nil {
		r.mu.Unlock()
		r.rooms.refuse(err)
		return
	}
	hidden := d.Deletions != r.content.store.DeleteDigest() || d.Pending != 0 && d.Pending != r.content.store.PendingDigest()
	var missing bool
	if k == oplog.Beacon && !isNew {
		missing = p.missedSince(r.content.store.StateVector()) || same && hidden
		p.ahead = nil
		if lacks {
			p.ahead = bytes.Clone(d.StateVector)
		}
	} else {
		missing = lacks || hidden
	}
	var answer []byte
	var states []awareness.Entry
	if k == oplog.Hello || !p.greeted { // whatever of it was heard first
		p.greeted = true
		answer = oplog.AppendDigest(oplog.AppendTo(nil, oplog.Answer, r.id, uint64(from)), e.digest())
		states = r.presence.set.EntriesOf(uint64(r.id))
	}
	r.mu.Unlock()
	if answer != nil && k != oplog.Answer {
		_ = r.rooms.cfg.Bus.Publish(d.Pod, answer)
	}
	if len(states) > 0 {
		_ = r.rooms.cfg.Bus.Publish(d.Pod, oplog.AppendStates(nil, r.id, uint64(from), states))
	}
	if missing {
		e.want(from)
	}
}

// missedSince reports whether a room still lacks what the peer knew at its previous
// beacon.
func (p *peer) missedSince(stateVector []byte) bool {
	if p.ahead == nil {
		return false
	}
	lacks, _, err := compare(stateVector, p.ahead)
	return err == nil && lacks
}

// want asks a room for everything that this one lacks. One question is open at a
// time; what goes missing meanwhile is asked for again.
func (e *exchange) want(from oplog.ID) {
	r := e.room
	r.mu.Lock()
	p := r.peers.heard[from]
	if p == nil {
		r.mu.Unlock()
		return
	}
	if p.pod == "" {
		r.mu.Unlock()
		e.hello()
		return
	}
	now := time.Now()
	if p.wanting && now.Sub(p.wantedAt) < wantTimeout {
		p.again = true
		r.mu.Unlock()
		return
	}
	if !p.wanting {
		p.asked = 0
	}
	p.asked++
	asked := p.asked
	p.wanting, p.again, p.wantedAt = true, false, now
	pod, message := p.pod, oplog.AppendWant(nil, r.id, from, r.rooms.cfg.Bus.PodSubject(), r.content.store.StateVector())
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(pod, message)
	e.suspectBus(asked)
}

// receiveWant answers with the difference: the structs that the other lacks and
// all deletions.
func (e *exchange) receiveWant(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	pod := rd.String()
	if rd.Err != nil {
		r.rooms.refuse(rd.Err)
		return
	}
	r.mu.Lock()
	diff, err := r.content.store.Diff(rd.Rest)
	r.mu.Unlock()
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	b := r.rooms.cfg.Bus
	limit := r.rooms.cfg.History.MaxPayload() - oplog.MaxHead
	if len(diff) <= limit {
		_ = b.Publish(pod, append(oplog.AppendTo(nil, oplog.Difference, r.id, uint64(from)), diff...))
		return
	}
	r.rooms.done.Go(func() { e.sendParts(pod, from, diff, limit) })
}

// sendParts sends a difference that NATS does not take at once. It waits for the
// server now and then: a pod that is sent more than the server holds for it would
// be cut off.
func (e *exchange) sendParts(pod string, to oplog.ID, diff []byte, limit int) {
	r := e.room
	b, group := r.rooms.cfg.Bus, rand.Uint64()
	oplog.Split(diff, limit, func(index, count int, piece []byte) {
		m := oplog.AppendDifferencePart(make([]byte, 0, oplog.MaxHead+len(piece)), r.id, to, group, index, count, piece)
		_ = b.Publish(pod, m) // a lost part is asked for again
		if index%partsAtOnce == partsAtOnce-1 {
			ctx, cancel := context.WithTimeout(r.rooms.ctx, wantTimeout)
			_ = b.Flush(ctx)
			cancel()
		}
	})
}

// partsAtOnce is how many parts of a difference go out between two flushes.
const partsAtOnce = 8

// receiveDifference takes the answer to a want.
func (e *exchange) receiveDifference(from oplog.ID, update []byte) {
	r := e.room
	r.mu.Lock()
	if e.take(update) {
		r.rooms.Counters.Repairs.Add(1)
		// Whose it was, and whether that pod lives, nobody knows.
		r.log.water.unconfirm(r.log.water.hear())
	}
	r.holds.releaseFrom(from)
	again := false
	if p := r.peers.heard[from]; p != nil {
		p.wanting, again = false, p.again
	}
	r.mu.Unlock()
	if again {
		e.want(from)
	}
}

// receiveStates takes the awareness of another room's clients.
func (e *exchange) receiveStates(from oplog.ID, rd *oplog.Reader) {
	r := e.room
	entries, err := awareness.DecodeAll(rd.Rest)
	if err == nil {
		err = rd.Err
	}
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	r.mu.Lock()
	p, isNew := e.hear(from)
	tombstones := r.presence.fromRoom(from, entries, time.Now())
	pod := p.pod
	r.mu.Unlock()
	if isNew {
		e.meet()
	}
	if len(tombstones) > 0 && pod != "" {
		_ = r.rooms.cfg.Bus.Publish(pod, oplog.AppendStates(nil, r.id, uint64(from), tombstones))
	}
}

// compare reports whether a state vector lacks structs that another has, and
// whether the two are the same.
func compare(mine, theirs []byte) (lacks, same bool, err error) {
	if bytes.Equal(mine, theirs) {
		return false, true, nil
	}
	a, err := ystore.ReadProgress(mine)
	if err != nil {
		return false, false, err
	}
	b, err := ystore.ReadProgress(theirs)
	if err != nil {
		return false, false, err
	}
	lacks, same = a.Compare(b)
	return lacks, same, nil
}
