package room

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/yproto"
)

// wantTimeout is how long a difference may take before it is asked for again.
const wantTimeout = 2 * time.Second

// peer is the room of the same document on another pod. Guarded by Room.mu.
type peer struct {
	pod     string // where it takes messages; empty until it said so
	counter uint64 // of its last log message that was received or is covered by a difference
	heard   time.Time

	wanting  bool // a difference was asked for and has not come
	asked    int  // how often in a row
	again    bool // something went missing after it was asked for
	wantedAt time.Time

	// ahead is the state vector of its last beacon, if it knew more than this
	// room: what was only in flight then has arrived by the next one.
	ahead []byte
}

type groupKey struct {
	room  ID
	first uint64
}

// hear notes a sign of life of a room and returns it.
func (r *Room) hear(id ID) (p *peer, isNew bool) {
	if r.peers == nil {
		r.peers = map[ID]*peer{}
	}
	p = r.peers[id]
	if p == nil {
		p, isNew = new(peer), true
		r.peers[id] = p
		r.missed = missed{}
		// No longer alone: what was held back for a batch leaves now.
		if len(r.out.updates) > 0 {
			r.rooms.outbox.now(r)
		}
	}
	p.heard = time.Now()
	return p, isNew
}

// missed says that all other pods fell silent without a word. Two rooms that lost
// each other both have nobody to send beacons to: each calls for the other, ever
// more rarely, until somebody is heard.
type missed struct {
	next time.Time
	wait time.Duration // until the call after; 0: nobody is missed
}

const callMost = 5 * time.Minute

// callDue reports whether the room, which hears nobody, is to say hello.
func (r *Room) callDue(now time.Time) bool {
	m := &r.missed
	if len(r.peers) > 0 || m.wait == 0 || now.Before(m.next) {
		return false
	}
	m.next, m.wait = now.Add(m.wait), min(2*m.wait, callMost)
	return true
}

// dropPeer forgets a room on another pod. Its clients leave; the caller spreads
// their tombstones.
func (r *Room) dropPeer(id ID, now time.Time) []awareness.Entry {
	delete(r.peers, id)
	for _, groups := range []map[groupKey]*group{r.groups, r.answers} {
		maps.DeleteFunc(groups, func(key groupKey, _ *group) bool { return key.room == id })
	}
	return r.aware.RemoveRoom(uint64(id), now)
}

func (r *Room) digest() digest {
	return digest{
		pod: r.rooms.cfg.Bus.PodSubject(), counter: r.log.counter,
		deletions: r.store.DeleteDigest(), stateVector: r.store.StateVector(),
	}
}

// hello makes the rooms of the document on other pods known to this one, and
// starts the exchange of what either lacks. It is published on the connection of
// the subscriptions, so that no message falls between the two.
func (r *Room) hello() { r.announce(kindHello) }

// sendBeacon lets the others notice that something went missing between them.
func (r *Room) sendBeacon(now time.Time) {
	r.mu.Lock()
	r.beaconAt = now
	r.mu.Unlock()
	r.announce(kindBeacon)
}

func (r *Room) announce(k kind) {
	r.mu.Lock()
	at, d := r.at, r.digest()
	r.mu.Unlock()
	_ = r.rooms.cfg.Bus.Publish(at.signals, appendDigest(appendTo(nil, k, r.id, at.tag), d))
}

// publishPresence tells the other pods of all clients of this room.
func (r *Room) publishPresence() {
	r.mu.Lock()
	at, entries := r.at, r.aware.EntriesOf(uint64(r.id))
	r.mu.Unlock()
	if len(entries) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, appendStates(nil, r.id, at.tag, entries))
	}
}

// Receive takes what other pods publish about the document. data is not kept.
func (r *Room) Receive(subject, reply string, data []byte) {
	r.mu.Lock()
	at := r.at
	r.mu.Unlock()
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
			r.take(whole)
		}
	default:
		r.take(m.body)
	}
	r.mu.Unlock()
	if !gap {
		return
	}
	if !isNew {
		r.rooms.Counters.Gaps.Add(1)
	}
	r.want(m.room)
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
	changes, err := r.apply(update, nil)
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
	if k == kindHello || isNew {
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
	}
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
	entries, err := awareness.Decode(rd.b)
	if err == nil {
		err = rd.err
	}
	if err != nil {
		r.rooms.refuse(err)
		return
	}
	r.mu.Lock()
	p, _ := r.hear(from)
	news, tombstones := r.aware.ApplyRoom(uint64(from), entries, time.Now())
	r.spreadAwareness(news, nil)
	if len(tombstones) > 0 {
		r.welcome()
	}
	pod := p.pod
	r.mu.Unlock()
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
