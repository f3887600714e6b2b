package room

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// compactTimeout bounds one compaction; the next tick tries again.
const compactTimeout = time.Minute

// compactionDue reports whether a snapshot should replace the history now. Of
// the rooms that share a document the one with the lowest id goes first; the
// others step in only when it does not.
func (l *log) compactionDue(now time.Time) bool {
	cfg := &l.room.rooms.cfg
	if l.compacting || l.room.closed {
		return false
	}
	if cfg.SnapshotEvery > 0 && now.Sub(l.snapshotAt) > cfg.SnapshotEvery {
		return true
	}
	if l.room.kept != nil && l.room.content.store.Stats().Bytes > InlineBytes {
		return false // storing it purges its history
	}
	times := 1
	if !l.room.peers.first(l.room.id) {
		times = 3
	}
	return l.messages >= times*cfg.CompactMessages || l.size >= times*max(cfg.CompactBytes, 2*l.snapshotSize) && l.messages > 1
}

// compact appends a snapshot and removes what it contains from the history. It
// never blocks edits, and any number of pods may do it at once: each removes
// only messages below the last that it has read from the history itself, and
// its snapshot holds those.
func (r *Room) compact(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, compactTimeout)
	defer cancel()
	err := r.compactOnce(ctx)
	r.mu.Lock()
	r.log.compacting = false
	closed := r.closed
	r.mu.Unlock()
	switch {
	case err == nil:
		r.rooms.Counters.Compactions.Add(1)
	case !closed && ctx.Err() == nil:
		r.rooms.cfg.Log.Warn("compaction failed, will try again", "document", r.doc.String(), "err", err)
	}
}

func (r *Room) compactOnce(ctx context.Context) error {
	subject := r.place().updates
	_, covered, err := r.read(ctx, subject)
	if err != nil {
		return err
	}
	r.mu.Lock()
	messages, size, closed := r.log.messages, r.log.size, r.closed
	r.mu.Unlock()
	if closed { // its history may be removed already
		return ErrClosed
	}
	snapshot, err := r.appendSnapshot(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.at.updates != subject { // nothing was read of where the snapshot went
		r.mu.Unlock()
		return errRebased
	}
	r.log.messages = max(0, r.log.messages-messages)
	r.log.size = max(0, r.log.size-size)
	r.log.snapshotSize, r.log.snapshotAt = snapshot, time.Now()
	if covered > 0 {
		r.log.contained = contained{} // what was read last is purged
	}
	r.mu.Unlock()
	if covered == 0 {
		return nil
	}
	return r.rooms.cfg.History.PurgeBelow(ctx, subject, covered+1)
}

// errRebased ends a compaction during which the room went over to another epoch.
var errRebased = errors.New("the document went over to another epoch")

// contained is how far a room has read a history that it contains since.
type contained struct {
	subject string
	keeps   bool // the room kept what is deleted when it began to read
	reading *oplog.Reading
}

// contains is what the next reading of a history goes on from: nil, if the room may lack
// something of it. Callers hold mu.
func (l *log) contains(subject string) *oplog.Reading {
	// A room that keeps what is deleted since then dropped what it had of that before.
	if l.contained.subject != subject || l.contained.keeps != l.room.content.store.Keeps() {
		return nil
	}
	return l.contained.reading
}

// read applies to the store what the history on a subject holds behind what the room has
// read of it before. It returns what it found in all of it, and
// the sequence up to which the store contains it: the last one, or the one before the
// first part of a message that may still be completed.
func (r *Room) read(ctx context.Context, subject string) (found oplog.Loaded, covered uint64, err error) {
	r.mu.Lock()
	former, now := r.log.contains(subject), contained{subject: subject, keeps: r.content.store.Keeps()}
	r.mu.Unlock()
	found, now.reading, err = oplog.LoadOn(ctx, r.rooms.cfg.History, subject, former, func(k oplog.Kind, body []byte, keep bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if keep {
			r.content.keep()
		}
		r.exchange.take(body)
		if k == oplog.Snapshot {
			r.log.snapshotSize = len(body)
		}
	}, r.rooms.refuse)
	if err != nil {
		return found, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.reading == nil { // it ended inside a message in parts
		now.reading = former
	}
	r.log.contained = now
	r.log.messages, r.log.size = found.Messages, found.Size
	covered = min(found.Last, r.log.beforeUnfinished(found.Starts))
	// The room holds the body of a base that it has read past: of one that has purged the
	// history only if it is its own. What the store has lost is no base any more.
	if base, purged, ok := found.BaseAt(covered); ok && !purged && !r.log.lost {
		r.standOn(base)
	}
	return found, covered, nil
}

// unfinishedFor is how long a message in parts may take to be appended: much longer
// than its room waits for acknowledgements. What takes longer lost its room.
const unfinishedFor = 2 * time.Minute

// beforeUnfinished returns the sequence before the first of the messages that the
// history holds the beginning of, given where each begins, and remembers since when
// it is known. Those that will never be finished do not count.
func (l *log) beforeUnfinished(starts map[oplog.Key]uint64) uint64 {
	before := uint64(math.MaxUint64)
	known := l.unfinished
	l.unfinished = make(map[oplog.Key]time.Time, len(starts))
	for key, seq := range starts {
		since, old := known[key]
		if !old {
			since = time.Now()
		}
		l.unfinished[key] = since
		if time.Since(since) < unfinishedFor {
			before = min(before, seq-1)
		}
	}
	return before
}
