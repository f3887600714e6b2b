package room

import (
	"github.com/wsnode/wsnode/relay/oplog"
)

// storing is what the room knows of the store that keeps a stored life: base is the last
// that the history stands on, and the room holds its body; the store has every change up to
// the number stored, and perhaps more. changed says that the history has what the store
// lacks, as far as is known, and is what Kept was told. Guarded by Room.mu.
type storing struct {
	room    *Room
	base    oplog.Base
	bare    bool // the history lacks what lay before it: the first edit brings it
	changed bool
	lost    bool   // the store has less than the history was told that it has, until this room has stored
	changes uint64 // appended by any room, or about to be
	cleanAt uint64 // a sequence at which the store had all of the history; 0: none is known
	stored  uint64 // see watermark
	noted   noted  // what Reached found out last
}

// noted is a number up to which everything was durable when the history was read: all of
// it stands at or below a sequence, in one of the room's histories.
type noted struct{ number, seq, life uint64 }

// storable reports whether a store keeps this life of the document.
func (st *storing) storable() bool { return st.room.kept != nil && st.room.at.format() == oplog.Kept }

// standOn takes a base.
func (st *storing) standOn(b oplog.Base) {
	if b.KeepDeleted {
		st.room.content.keep()
	}
	b.KeepDeleted = st.room.content.store.Keeps() // what is kept stays so, whatever others say
	st.base = b
}

// begin takes what the store brought for a history.
func (st *storing) begin(brought Brought, found oplog.Loaded) {
	st.standOn(brought.Base)
	st.bare = !found.Whole() && brought.Base.Version != "" && st.room.content.store.Stats().Bytes <= InlineBytes
	switch {
	case brought.Less:
		st.lessStored()
	case !found.Clean():
		st.change()
	case st.room.log.water.life == 1:
		st.has(1) // what it loaded
	}
}

// seeded notes that a history has its seed, at a sequence.
func (st *storing) seeded(seq uint64, found oplog.Loaded) {
	if found.Clean() {
		st.cleanAt = seq
	}
}

// change notes that the history gets what the store does not have.
func (st *storing) change() {
	st.changes++
	if st.room.kept != nil && !st.changed {
		st.changed = true
		st.room.kept.Changed()
	}
}

// lessStored notes that the store has less than the history was told that it has: it is
// written again, although the history has nothing new.
func (st *storing) lessStored() {
	st.lost = true
	st.change()
}

// elsewhere notes that the room of another pod has stored. What the store had lost it may
// have stored before: this room finds out by a save of its own, which meets its own body if
// the whole is there again.
func (st *storing) elsewhere() {
	if kept := st.room.kept; st.room.asks.awaited && kept.Marked != nil {
		kept.Marked()
	}
}

// gone notes that the store has nothing of the document.
func (st *storing) gone() {
	st.base.Version, st.base.Covers = "", nil
	st.lessStored()
}

// clean notes that the store had all of the history at a sequence, when so much had changed.
func (st *storing) clean(at, changes uint64) {
	st.cleanAt = at
	st.noteStored(changes)
}

// marked notes that the history says at a sequence what the store has of it.
func (st *storing) marked(d Draft, base oplog.Base, seq uint64) {
	st.standOn(base)
	st.lost = false
	if seq == d.upTo+1 {
		st.cleanAt = seq
	}
	st.noteStored(d.changes)
}

// noteStored notes that the store has everything, unless more has changed.
func (st *storing) noteStored(changes uint64) {
	if st.changes == changes {
		st.changed = false
	}
}

// has notes that the store has every change up to a number.
func (st *storing) has(number uint64) { st.stored = max(st.stored, number) }

// reached takes what a history says that was read when all up to a number was durable, and
// returns up to which the store has it; 0: no news.
func (st *storing) reached(now noted, found oplog.Loaded) (stored uint64) {
	before := st.noted
	switch {
	case found.Clean():
		stored = now.number
	case before.life != now.life:
	case before.seq > found.Stored:
		return 0 // the note stays until the store has it: later ones would always be ahead of it
	default:
		stored = before.number
	}
	st.noted = now
	return stored
}

// body is the first edit of a document whose content is not in its history: it follows
// now, so that the history stands alone while the store is away.
func (st *storing) body() {
	if st.bare {
		st.bare = false
		st.room.log.owe()
	}
}

// snapshotBody is what a snapshot holds: the whole document, in a stored life behind its
// base. It must not be changed.
func (st *storing) snapshotBody() []byte {
	if st.room.at.format() == oplog.Plain {
		return st.room.content.state()
	}
	st.bare = false
	head := oplog.AppendBase(nil, st.base)
	return st.room.content.stateBehind(head)
}
