package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/ystore"
)

// maxRoomUnacked bounds, in bytes, what one room keeps for another try. Beyond
// it the room forgets the edits and owes the history a snapshot instead, which
// contains them.
const maxRoomUnacked = 4 << 20

// log is what a room knows of its history: which of its appends are not
// acknowledged, and how much stands behind the last snapshot. Guarded by
// Room.mu.
type log struct {
	room     *Room
	counter  uint64 // of the last log message
	flying   int    // appends whose outcome is open, and what is about to be appended
	flyBytes int
	failed   [][]byte // updates whose append failed; immutable
	failedN  int      // their bytes
	owed     bool     // a snapshot is owed in place of updates that were let go
	retryAt  time.Time
	waiters  []chan struct{} // closed when everything is durable

	messages, size int // appended behind the last snapshot, by all rooms
	snapshotSize   int
	snapshotAt     time.Time
	compacting     bool
	unfinished     map[groupKey]time.Time // messages that lack parts, since when they are known
	durable        time.Duration          // of the last append, from publish to acknowledgement
}

func (l *log) init(r *Room) {
	l.room = r
	l.snapshotAt = time.Now()
}

func (l *log) bytes() int { return l.flyBytes + l.failedN }

func (l *log) settled() bool {
	return l.flying == 0 && len(l.failed) == 0 && !l.owed && len(l.room.out.updates) == 0
}

// took counts a message that any room appended.
func (l *log) took(size int) {
	l.messages++
	l.size += size
}

// snapshot notes that another room appended a snapshot of about that size, which
// stands for all before it.
func (l *log) snapshot(size int) {
	l.messages, l.size = 0, 0
	l.snapshotSize, l.snapshotAt = size, time.Now()
}

// keep remembers an update whose append failed.
func (l *log) keep(update []byte) {
	total := &l.room.rooms.Counters.UnackedBytes
	l.retryAt = time.Now().Add(l.room.rooms.cfg.RetryEvery)
	if l.owed {
		return
	}
	if l.failedN+len(update) > maxRoomUnacked || total.Load() > int64(l.room.rooms.cfg.MaxUnackedBytes) {
		l.owe()
		return
	}
	l.failed = append(l.failed, update)
	l.failedN += len(update)
	total.Add(int64(len(update)))
}

// owe lets the kept updates go: the next try appends a snapshot.
func (l *log) owe() {
	l.forget()
	l.owed = true
}

func (l *log) forget() {
	l.room.rooms.Counters.UnackedBytes.Add(-int64(l.failedN))
	l.failed, l.failedN = nil, 0
}

// retryDue moves what failed back to the outbox once its time has come.
func (l *log) retryDue(now time.Time) bool {
	if l.owed {
		return !now.Before(l.retryAt)
	}
	if len(l.failed) == 0 || now.Before(l.retryAt) {
		return false
	}
	l.room.rooms.Counters.Retries.Add(1)
	l.room.out.updates = append(l.failed, l.room.out.updates...)
	l.forget()
	return true
}

// release wakes who waits for durability.
func (l *log) release() {
	if !l.settled() {
		return
	}
	for _, w := range l.waiters {
		close(w)
	}
	l.waiters = nil
}

// schedule puts the room into the outbox.
func (r *Room) schedule(now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scheduleLocked(now)
}

func (r *Room) scheduleLocked(now bool) {
	switch {
	case now && len(r.peers) == 0:
		r.out.scheduled = true
		r.rooms.outbox.now(r)
	case r.out.scheduled:
	case now:
		r.out.scheduled = true
		r.rooms.outbox.now(r)
	default:
		r.out.scheduled = true
		r.rooms.outbox.later(r, r.rooms.cfg.BatchWindow)
	}
}

// publishAwareness marks clients of this room whose awareness the other pods
// must hear of. Only their newest states leave.
func (r *Room) publishAwareness(news []awareness.Entry) {
	if len(news) == 0 || len(r.peers) == 0 {
		return // a pod that opens the document later is told in answer to its hello
	}
	if r.out.clients == nil {
		r.out.clients = make(map[uint64]struct{}, len(news))
	}
	for _, e := range news {
		r.out.clients[e.Client] = struct{}{}
	}
	r.scheduleLocked(true)
}

// publish sends what the room has gathered: one log message, and one message of
// awareness. Only the outbox calls it.
func (r *Room) publish() {
	r.mu.Lock()
	updates, clients := r.out.updates, r.out.clients
	r.out = pending{}
	owed := r.log.owed
	var states []awareness.Entry
	for client := range clients {
		states = append(states, r.aware.Newest(client, 0))
	}
	at := r.at
	recall := r.recallDue(time.Now())
	r.log.flying++ // what was taken is not durable
	r.mu.Unlock()
	defer r.published()

	if owed {
		r.payDebt()
	}
	switch {
	case len(updates) == 1:
		r.append(kindUpdates, updates[0], nil)
	case len(updates) > 1:
		merged, err := ystore.Merge(updates)
		if err != nil { // each was applied: merging them cannot fail
			r.rooms.cfg.Log.Error("merge for the history failed", "document", r.doc.String(), "err", err)
			for _, u := range updates {
				r.append(kindUpdates, u, nil)
			}
			break
		}
		r.append(kindUpdates, merged, nil)
	}
	if len(states) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, appendStates(nil, r.id, at.tag, states))
	}
	if recall {
		r.recallAll()
	}
}

// published ends the hold on durability that publish has while it appends.
func (r *Room) published() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.flying--
	r.log.release()
}

// payDebt appends the snapshot that is owed for updates that were let go.
func (r *Room) payDebt() {
	r.mu.Lock()
	state := r.state()
	r.log.owed = false
	r.mu.Unlock()
	r.rooms.Counters.Retries.Add(1)
	r.append(kindSnapshot, state, nil)
}

// append publishes a body to the room's log, in parts where it exceeds what NATS
// takes at once. outcome, if not nil, is called once with the sequence of the
// last part, or the first error. Without it, a failure is kept for another try.
func (r *Room) append(k kind, body []byte, outcome func(seq uint64, err error)) {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	limit := r.rooms.cfg.History.MaxPayload() - maxHead
	a := &appending{room: r, kind: k, body: body, outcome: outcome, sent: time.Now()}
	count := max(1, (len(body)+limit-1)/limit)
	a.open = count

	r.mu.Lock()
	subject := r.at.updates
	first := r.log.counter + 1
	r.log.counter += uint64(count)
	r.log.flying++
	r.log.flyBytes += len(body)
	r.mu.Unlock()
	r.rooms.Counters.EditsOut.Add(1)

	split(body, limit, func(index, count int, piece []byte) {
		var data []byte
		counter := first + uint64(index)
		if count == 1 {
			data = appendLog(make([]byte, 0, maxHead+len(piece)), r.id, k, counter, piece)
		} else {
			data = appendPart(make([]byte, 0, maxHead+len(piece)), r.id, counter, part{first, index, count, k}, piece)
		}
		if err := r.rooms.cfg.History.Append(subject, data, a.done); err != nil {
			a.done(0, err)
		}
	})
}

// appending is one body on its way to the history.
type appending struct {
	room    *Room
	kind    kind
	body    []byte
	outcome func(seq uint64, err error)
	sent    time.Time

	// Guarded by room.mu.
	open int // parts whose outcome is unknown
	seq  uint64
	err  error
}

// done takes the outcome of one part.
func (a *appending) done(seq uint64, err error) {
	r := a.room
	r.mu.Lock()
	a.seq = max(a.seq, seq)
	if a.err == nil {
		a.err = err
	}
	if a.open--; a.open > 0 {
		r.mu.Unlock()
		return
	}
	r.log.flying--
	r.log.flyBytes -= len(a.body)
	switch {
	case a.err == nil && a.kind == kindUpdates:
		r.log.took(len(a.body))
	case a.err == nil || a.outcome != nil || r.closed:
	case a.kind == kindSnapshot:
		r.log.owe()
		r.log.retryAt = time.Now().Add(r.rooms.cfg.RetryEvery)
	default:
		r.log.keep(a.body)
	}
	r.log.release()
	outcome, final := a.outcome, a.err
	took := time.Since(a.sent)
	if final == nil {
		r.log.durable = took
	}
	r.mu.Unlock()
	if final == nil {
		r.rooms.cfg.Durable(took)
	}
	if outcome != nil {
		outcome(a.seq, final)
	}
}

// Durable waits until the history has acknowledged every edit that the room
// took, or ctx ends.
func (r *Room) Durable(ctx context.Context) error {
	r.mu.Lock()
	if r.log.settled() {
		r.mu.Unlock()
		return nil
	}
	settled := make(chan struct{})
	r.log.waiters = append(r.log.waiters, settled)
	r.rooms.outbox.now(r)
	r.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("make %s durable: %w", r.doc, ctx.Err())
	}
}

// appendSnapshot appends the whole document, waits for its acknowledgement, and
// returns its size in bytes.
func (r *Room) appendSnapshot(ctx context.Context) (size int, err error) {
	r.mu.Lock()
	state := r.state()
	r.mu.Unlock()
	got := make(chan error, 1)
	r.append(kindSnapshot, state, func(_ uint64, err error) { got <- err })
	select {
	case err := <-got:
		if err != nil {
			return 0, fmt.Errorf("append a snapshot of %s: %w", r.doc, err)
		}
		return len(state), nil
	case <-ctx.Done():
		return 0, errors.Join(fmt.Errorf("append a snapshot of %s", r.doc), ctx.Err())
	}
}
