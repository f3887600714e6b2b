package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// maxRoomUnacked bounds, in bytes, what one room keeps for another try. Beyond
// it the room forgets the edits and owes the history a snapshot instead, which
// contains them.
const maxRoomUnacked = 4 << 20

// log is what a room has to append to the history. Each change of its own clients is in one
// place until the history has acknowledged it: in the outbox, in an append that is on its
// way, in failed, or only in the snapshot that is owed; water says of each number in which.
// Guarded by Room.mu, which merge, withdraw and those that append take.
type log struct {
	room *Room
	// publishing is held while messages get their counters and go out, so that they leave
	// in the order of their counters. It is locked before Room.mu. A seed gets its counter
	// without: it waits for the history's answer, and is not written at all if others were
	// faster. Rooms that hear of the counter after it first ask for a difference.
	publishing sync.Mutex
	counter    uint64 // of the last message
	water      watermark
	flyBytes   int      // of appends whose outcome is open
	failed     [][]byte // updates whose append failed; immutable
	failedN    int      // their bytes
	owed       bool     // a snapshot is owed in place of updates that were let go
	retryAt    time.Time
	waiters    []waiter // for their number to have landed

	durable time.Duration // of the last append, from publish to acknowledgement
}

// waiter waits until the room's own changes up to a number have landed.
type waiter struct {
	number uint64
	landed chan struct{} // closed then
}

func (l *log) bytes() int { return l.flyBytes + l.failedN }

// keep remembers an update whose append failed.
func (l *log) keep(update []byte, f flight) {
	total := &l.room.rooms.Counters.UnackedBytes
	l.retryAt = time.Now().Add(l.room.rooms.cfg.RetryEvery)
	l.water.kept = l.water.kept.with(f.span)
	if l.owed || l.failedN+len(update) > maxRoomUnacked || total.Load() > int64(l.room.rooms.cfg.MaxUnackedBytes) {
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
	l.water.owe()
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
	l.room.out.again(l.failed)
	l.water.retry()
	l.forget()
	return true
}

// landed is the number up to which no change has yet to be appended, alone or in a snapshot; 0:
// a snapshot has yet to be. Once everything has landed, a room that takes nothing more appends
// nothing more.
func (l *log) landed() uint64 {
	if l.owed || l.water.snapshots > 0 {
		return 0
	}
	return l.water.landed()
}

// release wakes those whose changes have landed.
func (l *log) release() {
	if len(l.waiters) == 0 {
		return
	}
	landed := l.landed()
	l.waiters = slices.DeleteFunc(l.waiters, func(w waiter) bool {
		if w.number > landed {
			return false
		}
		close(w.landed)
		return true
	})
}

// take numbers a change of the room's own, which leaves with the outbox: now, or a little
// later.
func (l *log) take(change []byte, now bool) {
	l.room.out.add(change)
	l.water.take()
	l.room.out.schedule(now)
}

// takeEdit is take for what a client changed: the first brings the body.
func (l *log) takeEdit(change []byte, now bool) {
	l.room.storing.body()
	l.take(change, now)
}

// heavyMerge is how many bytes are merged by turns with other heavy work: up to a
// millisecond's worth is not, since the edits of all documents wait for it.
const heavyMerge = 64 << 10

// merge makes one update of those that a room gathered.
func (l *log) merge(updates [][]byte) []byte {
	r := l.room
	if len(updates) == 1 {
		return updates[0]
	}
	var merged []byte
	var err error
	merge := func() { merged, err = r.content.merge(updates) }
	size := 0
	for _, u := range updates {
		size += len(u)
	}
	if size < heavyMerge {
		merge()
	} else {
		r.rooms.cfg.Heavy(merge)
	}
	if err == nil {
		return merged
	}
	// Each was applied: merging them cannot fail. The whole document holds them too.
	r.rooms.cfg.Log.Error("merge for the history failed", "document", r.doc.String(), "err", err)
	return r.Export()
}

// appendOwed appends the snapshot that is owed for updates that were let go.
func (l *log) appendOwed() {
	r := l.room
	r.mu.Lock()
	state := r.storing.snapshotBody()
	flight := r.log.water.departSnapshot(r.log.water.owed)
	r.log.owed, r.log.water.owed = false, span{}
	r.mu.Unlock()
	r.rooms.Counters.Retries.Add(1)
	r.log.append(oplog.Snapshot, state, flight, nil)
}

// append publishes a body to the room's log, in parts where it exceeds what NATS takes at
// once. flight says which changes it carries. outcome, if not nil, is called once with the
// sequence of the last part, or the first error. Without it, a failure is kept for another
// try.
func (l *log) append(k oplog.Kind, body []byte, flight flight, outcome func(seq uint64, err error)) {
	r := l.room
	l.publishing.Lock()
	defer l.publishing.Unlock()
	limit := r.rooms.cfg.History.MaxPayload() - oplog.MaxHead
	a := &appending{room: r, kind: k, body: body, flight: flight, outcome: outcome, sent: time.Now()}
	count := max(1, (len(body)+limit-1)/limit)
	a.open = count

	r.mu.Lock()
	subject, format := r.at.updates, r.at.format()
	if k != oplog.Stored {
		r.storing.change()
	}
	first := r.log.counter + 1
	r.log.counter += uint64(count)
	r.log.flyBytes += len(body)
	r.mu.Unlock()
	r.rooms.Counters.EditsOut.Add(1)

	oplog.Split(body, limit, func(index, count int, piece []byte) {
		var data []byte
		counter := first + uint64(index)
		if count == 1 {
			data = format.Append(make([]byte, 0, oplog.MaxHead+len(piece)), r.id, k, counter, piece)
		} else {
			data = format.AppendPart(make([]byte, 0, oplog.MaxHead+len(piece)), r.id, counter, oplog.Part{First: first, Index: index, Count: count, Kind: k}, piece)
		}
		if err := r.rooms.cfg.History.Append(subject, data, a.done); err != nil {
			a.done(0, err)
		}
	})
}

// appending is one body on its way to the history.
type appending struct {
	room    *Room
	kind    oplog.Kind
	body    []byte
	flight  flight
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
	r.log.flyBytes -= len(a.body)
	r.log.land(a)
	r.log.release()
	r.exchange.answerAskers()
	r.asks.answerDue()
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

// land takes the outcome of an append.
func (l *log) land(a *appending) {
	if a.err == nil {
		l.water.acknowledge(a.flight)
		if a.kind == oplog.Updates {
			l.room.backlog.took(len(a.body))
		}
		return
	}
	l.water.fail(a.flight)
	switch {
	case a.outcome != nil || l.room.closed:
	case a.kind == oplog.Snapshot:
		l.water.owed = l.water.owed.with(a.flight.span)
		l.owe()
		l.retryAt = time.Now().Add(l.room.rooms.cfg.RetryEvery)
	default:
		l.keep(a.body, a.flight)
	}
}

// Durable waits until the history has acknowledged every edit that the room has taken from
// its clients by now, or ctx ends. Of a room that takes nothing more nothing is appended
// after that: neither an edit that a snapshot holds as well, nor a snapshot that is owed.
// What is read then is all of the life.
func (r *Room) Durable(ctx context.Context) error {
	r.mu.Lock()
	r.holds.release()
	w := waiter{number: r.log.water.taken, landed: make(chan struct{})}
	r.log.waiters = append(r.log.waiters, w)
	r.log.release()
	if r.log.water.pending.low != 0 || r.log.owed || len(r.log.failed) > 0 {
		r.rooms.outbox.now(r)
	}
	r.mu.Unlock()
	select {
	case <-w.landed:
		return nil
	case <-ctx.Done():
		if r.log.withdraw(w) {
			return fmt.Errorf("make %s durable: %w", r.doc, ctx.Err())
		}
		return nil // at the same time
	}
}

// withdraw has nobody wait any more. It reports whether somebody still did.
func (l *log) withdraw(w waiter) bool {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	before := len(l.waiters)
	l.waiters = slices.DeleteFunc(l.waiters, func(other waiter) bool { return other == w })
	return len(l.waiters) < before
}

// appendSnapshot appends the whole document, waits for its acknowledgement, and
// returns its size in bytes.
func (l *log) appendSnapshot(ctx context.Context) (size int, err error) {
	r := l.room
	r.mu.Lock()
	state := r.storing.snapshotBody()
	flight := r.log.water.departSnapshot(span{})
	r.mu.Unlock()
	got := make(chan error, 1)
	r.log.append(oplog.Snapshot, state, flight, func(_ uint64, err error) { got <- err })
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
