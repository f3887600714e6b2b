package room

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// compactTimeout bounds one compaction; the next tick tries again.
const compactTimeout = time.Minute

// backlog is what stands in the history behind its last snapshot, as far as this room knows:
// what it appended, heard from other pods, or read. It is counted so that a snapshot replaces
// it in time, and for nothing else: the rooms that share a document may count differently.
// Guarded by Room.mu, which methods with a context take: they wait for the history without it.
type backlog struct {
	room           *Room
	messages, size int // appended behind the last snapshot, by all rooms
	snapshotSize   int
	snapshotAt     time.Time
	compacting     bool
	unfinished     map[oplog.Key]time.Time // messages that lack parts, since when they are known; replaced, not changed
	contained      contained
}

// took counts a message that any room appended.
func (b *backlog) took(size int) {
	b.messages++
	b.size += size
}

// snapshot notes that another room appended a snapshot of about that size, which
// stands for all before it.
func (b *backlog) snapshot(size int) {
	b.messages, b.size = 0, 0
	b.snapshotSize, b.snapshotAt = size, time.Now()
}

// replaced notes that a snapshot stands for so many of the messages.
func (b *backlog) replaced(messages, size, snapshot int) {
	b.messages = max(0, b.messages-messages)
	b.size = max(0, b.size-size)
	b.snapshotSize, b.snapshotAt = snapshot, time.Now()
}

// due reports whether a snapshot should replace the history now. Of the rooms that share a
// document the one with the lowest id goes first; the others step in only when it does not. A
// room whose members have left is about to close: what it appended behind the last save would
// have the life stored once more.
func (b *backlog) due(now time.Time) bool {
	r, cfg := b.room, &b.room.rooms.cfg
	if b.compacting || b.idle() {
		return false
	}
	if cfg.SnapshotEvery > 0 && now.Sub(b.snapshotAt) > cfg.SnapshotEvery {
		return true
	}
	if r.kept != nil && r.content.store.Stats().Bytes > InlineBytes {
		return false // storing it purges its history
	}
	times := 1
	if !r.peers.first(r.id) {
		times = 3
	}
	return b.messages >= times*cfg.CompactMessages || b.size >= times*max(cfg.CompactBytes, 2*b.snapshotSize) && b.messages > 1
}

// idle reports whether the room is closed, or nobody is left in it.
func (b *backlog) idle() bool { return b.room.closed || len(b.room.members.seats) == 0 }

// tick has the history compacted when that is due, by Rooms.compactLoop.
func (b *backlog) tick(now time.Time) {
	if !b.due(now) {
		return
	}
	select {
	case b.room.rooms.compact <- b.room:
		b.compacting = true
	default: // many are waiting: at the next tick
	}
}

// compact appends a snapshot, and removes the messages from the history that the room had
// read from it before: the snapshot contains those. Edits go on meanwhile. Any number of pods
// may compact a history at once.
func (b *backlog) compact(ctx context.Context) {
	r := b.room
	ctx, cancel := context.WithTimeout(ctx, compactTimeout)
	defer cancel()
	r.mu.Lock()
	idle := b.idle() // meanwhile
	if idle {
		b.compacting = false
	}
	r.mu.Unlock()
	if idle {
		return
	}
	err := b.compactOnce(ctx)
	r.mu.Lock()
	b.compacting = false
	closed := r.closed
	r.mu.Unlock()
	switch {
	case err == nil:
		r.rooms.Counters.Compactions.Add(1)
	case !closed && ctx.Err() == nil:
		r.rooms.cfg.Log.Warn("compaction failed, will try again", "document", r.doc.String(), "err", err)
	}
}

func (b *backlog) compactOnce(ctx context.Context) error {
	r := b.room
	subject := r.at.now().updates
	_, covered, err := b.read(ctx, subject)
	if err != nil {
		return err
	}
	r.mu.Lock()
	messages, size, closed := b.messages, b.size, r.closed
	r.mu.Unlock()
	if closed { // its history may be removed already
		return ErrClosed
	}
	snapshot, err := r.log.appendSnapshot(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.at.updates != subject { // nothing was read of where the snapshot went
		r.mu.Unlock()
		return errRebased
	}
	b.replaced(messages, size, snapshot)
	if covered > 0 {
		b.contained = contained{} // what was read last is purged
	}
	r.mu.Unlock()
	if covered == 0 {
		return nil
	}
	return r.rooms.cfg.History.PurgeBelow(ctx, subject, covered+1)
}

// errRebased ends a reading, or a compaction, during which the room went over to another epoch.
var errRebased = errors.New("the document went over to another epoch")

// find reads an epoch's history. If it is expected to be empty, the stream's leader is asked
// first whether it is, which is one request.
func (b *backlog) find(ctx context.Context, subject string, fresh bool) (oplog.Loaded, error) {
	r, cfg := b.room, &b.room.rooms.cfg
	if fresh {
		if begun, err := b.begun(ctx, subject); err == nil && !begun {
			return oplog.Loaded{}, nil
		}
	}
	found, _, err := b.read(ctx, subject)
	r.mu.Lock()
	defer r.mu.Unlock()
	if every := cfg.SnapshotEvery; every > 0 && b.messages > 0 {
		b.snapshotAt = time.Now().Add(rand.N(every/12) - every) // how old it is, nobody says
	}
	return found, err
}

// begun reports whether the history on a subject holds anything.
func (b *backlog) begun(ctx context.Context, subject string) (bool, error) {
	if kept := b.room.kept; kept != nil && kept.Begun != nil && b.room.at.now().format() == oplog.Kept {
		return kept.Begun(ctx)
	}
	last, err := b.room.rooms.cfg.History.Last(ctx, subject)
	return last > 0, err
}

// contained is how far a room has read a history: it contains all of that.
type contained struct {
	subject string
	keeps   bool // the room kept what is deleted when it began to read
	reading *oplog.Reading
}

// contains is what the next reading of a history goes on from: nil, if the room may lack
// something of what was read.
func (b *backlog) contains(subject string) *oplog.Reading {
	// A room that has begun to keep what is deleted had dropped what it read of that before.
	if b.contained.subject != subject || b.contained.keeps != b.room.content.store.Keeps() {
		return nil
	}
	return b.contained.reading
}

// read reads the history on a subject from where the room has read it before, and applies it.
// It returns what it found in all of it, and the sequence up to which the document contains
// it: the last one, or the one before the first part of a message that may still be completed.
// errRebased says that the room left the epoch meanwhile.
func (b *backlog) read(ctx context.Context, subject string) (found oplog.Loaded, covered uint64, err error) {
	r := b.room
	r.mu.Lock()
	former, now := b.contains(subject), contained{subject: subject, keeps: r.content.store.Keeps()}
	r.mu.Unlock()
	found, now.reading, err = oplog.LoadOn(ctx, r.rooms.cfg.History, subject, former, func(k oplog.Kind, body []byte, keep bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.at.updates != subject {
			return // it is of another life now
		}
		if keep {
			r.content.keep()
		}
		r.exchange.take(body)
		if k == oplog.Snapshot {
			b.snapshotSize = len(body)
		}
	}, r.rooms.refuse)
	if err != nil {
		return found, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.updates != subject {
		return found, 0, errRebased
	}
	if now.reading == nil { // it ended inside a message in parts
		now.reading = former
	}
	b.contained = now
	b.messages, b.size = found.Messages, found.Size
	covered = min(found.Last, b.beforeUnfinished(found.Starts))
	// The document contains the body of a base behind which it has read: a mark says that
	// what stood before it is that body. If the mark has purged that, the document may lack
	// it. And what the store has lost is no base any more.
	if base, purged, ok := found.BaseAt(covered); ok && !purged && !r.storing.lost {
		r.storing.standOn(base)
	}
	return found, covered, nil
}

// unfinishedFor is how long the parts of a message may take to be appended: much longer than
// a room waits for acknowledgements. After that the room which wrote it is taken for dead.
const unfinishedFor = 2 * time.Minute

// Unfinished returns since when messages of the history are known that lack parts, for a room
// that takes the place of this one: one that is open for less than their time could never tell
// that they will not be completed. It must not be changed.
func (r *Room) Unfinished() map[oplog.Key]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.unfinished
}

// beforeUnfinished returns the sequence before the first message that may still be completed.
// starts are the messages of which the history holds only the first parts, and where each
// begins; since when one is known is remembered, and those that will never be completed do not
// count.
func (b *backlog) beforeUnfinished(starts map[oplog.Key]uint64) uint64 {
	before := uint64(math.MaxUint64)
	known := b.unfinished
	b.unfinished = make(map[oplog.Key]time.Time, len(starts))
	for key, seq := range starts {
		since, old := known[key]
		if !old {
			since = time.Now()
		}
		b.unfinished[key] = since
		if time.Since(since) < unfinishedFor {
			before = min(before, seq-1)
		}
	}
	return before
}
