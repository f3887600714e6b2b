package room

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/yproto"
	"github.com/wsnode/wsnode/relay/ystore"
)

// wantTimeout is how long a difference may take before it is asked for again.
const wantTimeout = 2 * time.Second

// Receive takes what other pods publish about the document. data is not kept.
func (r *Room) Receive(subject, reply string, data []byte) {
	at := r.place()
	switch subject {
	case at.updates:
		r.receiveLog(data)
	case at.signals:
		r.receiveSignal(at, reply, data)
	}
}

// Who is the question, on a document's signals, who has it open. ReadWho reads the
// answer.
func Who() []byte { return appendTo(nil, kindWho, 0, 0) }

// ReadWho reads a room's answer to Who: the epoch in which the document is live in
// this region.
func ReadWho(answer []byte) (epoch string, ok bool) {
	if len(answer) < 2 || answer[0] < oldestReadable || answer[0] > wireVersion {
		return "", false
	}
	return string(answer[1:]), true
}

// receiveLog takes a log message of another pod.
func (r *Room) receiveLog(data []byte) {
	m, err := readLog(data)
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	if m.room == r.id {
		return
	}
	r.mu.Lock()
	p, isNew := r.hear(m.room)
	gap := m.counter > p.counter+1
	p.counter = max(p.counter, m.counter)
	lossy := gap || p.wanting
	r.log.took(len(m.body))
	switch {
	case m.kind == kindSnapshot: // what it holds was published before
		r.log.snapshot(len(m.body))
	case m.kind == kindPart && m.part.kind == kindSnapshot:
		if m.part.index == m.part.count-1 {
			r.log.snapshot(m.part.count * r.rooms.cfg.History.MaxPayload())
		}
	case m.kind == kindPart:
		if whole := r.assemble(&r.groups, groupKey{m.room, m.part.first}, m.part, m.body); whole != nil {
			r.takeFrom(m.room, whole, lossy)
		}
	default:
		r.takeFrom(m.room, m.body, lossy)
	}
	r.mu.Unlock()
	switch {
	case isNew: // what it knows more, and who is there, comes with its answer
		r.meet()
	case gap:
		r.rooms.Counters.Gaps.Add(1)
		r.want(m.room)
	}
}

// groupKey names a message in parts by its room and its first counter.
type groupKey struct {
	room  ID
	first uint64
}

// maxGroups bounds the messages of other pods that may be incomplete at once.
const maxGroups = 16

func (r *Room) assemble(groups *map[groupKey]*group, key groupKey, p part, body []byte) []byte {
	g := (*groups)[key]
	if g == nil {
		if *groups == nil || len(*groups) >= maxGroups {
			*groups = map[groupKey]*group{}
		}
		g = new(group)
		(*groups)[key] = g
	}
	whole := g.add(p, body)
	if whole != nil {
		delete(*groups, key)
	}
	return whole
}

// take applies an update of another pod. It reports whether it brought anything.
func (r *Room) take(update []byte) (fresh bool) {
	changes, err := r.apply(update, nil, ystore.Terms{})
	if err != nil {
		r.rooms.refuse(err)
	}
	return changes != nil
}

// receiveSignal takes a message for all rooms of the document.
func (r *Room) receiveSignal(at place, reply string, data []byte) {
	k, from, body, err := readHeader(data)
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	if from == r.id {
		return
	}
	rd := reader{b: body}
	tag := rd.uint64()
	if k == kindWho && reply != "" {
		_ = r.rooms.cfg.Bus.Publish(reply, append([]byte{wireVersion}, at.epoch...))
		return
	}
	if tag != at.tag {
		return // another life of the document
	}
	switch k {
	case kindHello, kindBeacon:
		r.receiveDigest(k, from, &rd)
	case kindStates:
		r.receiveStates(from, &rd)
	case kindRecall:
		r.mu.Lock()
		r.recall()
		r.mu.Unlock()
	case kindBye:
		now := time.Now()
		r.mu.Lock()
		r.spreadAwareness(r.dropPeer(from, now), nil)
		if len(r.peers) == 0 {
			r.look(now)
		}
		r.mu.Unlock()
	}
}

// receiveAddressed takes a message for this room alone.
func (r *Room) receiveAddressed(k kind, from ID, rd *reader) {
	switch k {
	case kindAnswer:
		r.receiveDigest(k, from, rd)
	case kindStates:
		r.receiveStates(from, rd)
	case kindWant:
		r.receiveWant(from, rd)
	case kindAsk:
		r.receiveAsk(from, rd)
	case kindSaved:
		r.receiveSaved(from, rd)
	case kindDifference:
		r.receiveDifference(from, rd.b)
	case kindDifferencePart:
		key := groupKey{from, rd.uint64()}
		index, count := rd.uvarint(), rd.uvarint()
		if rd.err != nil || count > maxParts || index >= count {
			r.rooms.refuse(errWire)
			return
		}
		r.mu.Lock()
		if p := r.peers[from]; p != nil {
			p.wantedAt, p.asked = time.Now(), 1 // it is on its way
		}
		whole := r.assemble(&r.answers, key, part{index: int(index), count: int(count)}, rd.b)
		r.mu.Unlock()
		if whole != nil {
			r.receiveDifference(from, whole)
		}
	default:
		r.rooms.refuse(errWire)
	}
}

// receiveDigest compares what another room knows with what this one does.
func (r *Room) receiveDigest(k kind, from ID, rd *reader) {
	d := readDigest(rd)
	if rd.err != nil {
		r.rooms.refuse(rd.err)
		return
	}
	r.mu.Lock()
	p, isNew := r.hear(from)
	p.pod = d.pod
	p.counter = max(p.counter, d.counter)
	lacks, same, err := compare(r.store.StateVector(), d.stateVector)
	if err != nil {
		r.mu.Unlock()
		r.rooms.refuse(err)
		return
	}
	deletions := d.deletions != r.store.DeleteDigest()
	var missing bool
	if k == kindBeacon && !isNew {
		missing = r.missedSince(p) || same && deletions
		p.ahead = nil
		if lacks {
			p.ahead = bytes.Clone(d.stateVector)
		}
	} else {
		missing = lacks || deletions
	}
	var answer []byte
	var states []awareness.Entry
	if k == kindHello || !p.greeted { // whatever of it was heard first
		p.greeted = true
		answer = appendDigest(appendTo(nil, kindAnswer, r.id, uint64(from)), r.digest())
		states = r.aware.EntriesOf(uint64(r.id))
	}
	r.mu.Unlock()
	if answer != nil && k != kindAnswer {
		_ = r.rooms.cfg.Bus.Publish(d.pod, answer)
	}
	if len(states) > 0 {
		_ = r.rooms.cfg.Bus.Publish(d.pod, appendStates(nil, r.id, uint64(from), states))
	}
	if missing {
		r.want(from)
	}
}

// missedSince reports whether the room still lacks what a peer knew at its
// previous beacon.
func (r *Room) missedSince(p *peer) bool {
	if p.ahead == nil {
		return false
	}
	lacks, _, err := compare(r.store.StateVector(), p.ahead)
	return err == nil && lacks
}

// want asks a room for everything that this one lacks. One question is open at a
// time; what goes missing meanwhile is asked for again.
func (r *Room) want(from ID) {
	r.mu.Lock()
	p := r.peers[from]
	if p == nil {
		r.mu.Unlock()
		return
	}
	if p.pod == "" {
		r.mu.Unlock()
		r.hello()
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
	pod, message := p.pod, appendWant(nil, r.id, from, r.rooms.cfg.Bus.PodSubject(), r.store.StateVector())
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(pod, message)
	r.doubtBus(asked)
}

// receiveWant answers with the difference: the structs that the other lacks and
// all deletions.
func (r *Room) receiveWant(from ID, rd *reader) {
	pod := rd.string()
	if rd.err != nil {
		r.rooms.refuse(rd.err)
		return
	}
	r.mu.Lock()
	diff, err := r.store.Diff(rd.b)
	r.mu.Unlock()
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	b := r.rooms.cfg.Bus
	limit := r.rooms.cfg.History.MaxPayload() - maxHead
	if len(diff) <= limit {
		_ = b.Publish(pod, append(appendTo(nil, kindDifference, r.id, uint64(from)), diff...))
		return
	}
	r.rooms.done.Go(func() { r.sendParts(pod, from, diff, limit) })
}

// sendParts sends a difference that NATS does not take at once. It waits for the
// server now and then: a pod that is sent more than the server holds for it would
// be cut off.
func (r *Room) sendParts(pod string, to ID, diff []byte, limit int) {
	b, group := r.rooms.cfg.Bus, rand.Uint64()
	split(diff, limit, func(index, count int, piece []byte) {
		m := appendTo(make([]byte, 0, maxHead+len(piece)), kindDifferencePart, r.id, uint64(to))
		m = binary.LittleEndian.AppendUint64(m, group)
		m = binary.AppendUvarint(m, uint64(index))
		m = binary.AppendUvarint(m, uint64(count))
		_ = b.Publish(pod, append(m, piece...)) // a lost part is asked for again
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
func (r *Room) receiveDifference(from ID, update []byte) {
	r.mu.Lock()
	if r.take(update) {
		r.rooms.Counters.Repairs.Add(1)
		// Whose it was, and whether that pod lives, nobody knows.
		r.log.water.doubtful = r.log.water.doubtful.with(r.log.water.hear())
	}
	r.releaseFrom(from)
	again := false
	if p := r.peers[from]; p != nil {
		p.wanting, again = false, p.again
	}
	r.mu.Unlock()
	if again {
		r.want(from)
	}
}

// receiveStates takes the awareness of another room's clients.
func (r *Room) receiveStates(from ID, rd *reader) {
	entries, err := awareness.DecodeAll(rd.b)
	if err == nil {
		err = rd.err
	}
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	r.mu.Lock()
	p, isNew := r.hear(from)
	news, tombstones := r.aware.ApplyRoom(uint64(from), entries, time.Now())
	r.spreadAwareness(news, nil)
	if len(tombstones) > 0 {
		r.welcome()
	}
	pod := p.pod
	r.mu.Unlock()
	if isNew {
		r.meet()
	}
	if len(tombstones) > 0 && pod != "" {
		_ = r.rooms.cfg.Bus.Publish(pod, appendStates(nil, r.id, uint64(from), tombstones))
	}
}

// compare reports whether a state vector lacks structs that another has, and
// whether the two are the same.
func compare(mine, theirs []byte) (lacks, same bool, err error) {
	if bytes.Equal(mine, theirs) {
		return false, true, nil
	}
	a, err := stateVector(mine)
	if err != nil {
		return false, false, err
	}
	b, err := stateVector(theirs)
	if err != nil {
		return false, false, err
	}
	same = len(a) == len(b)
	for client, clock := range b {
		known := a[client]
		lacks = lacks || clock > known
		same = same && clock == known
	}
	return lacks, same, nil
}

func stateVector(b []byte) (map[uint64]uint64, error) {
	n, b, err := yproto.Uvarint(b)
	if err != nil || n > uint64(len(b)) {
		return nil, errWire
	}
	sv := make(map[uint64]uint64, n)
	for range n {
		var client, clock uint64
		if client, b, err = yproto.Uvarint(b); err != nil {
			return nil, errWire
		}
		if clock, b, err = yproto.Uvarint(b); err != nil {
			return nil, errWire
		}
		sv[client] = clock
	}
	return sv, nil
}
