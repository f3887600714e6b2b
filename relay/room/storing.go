package room

import (
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
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
	lost    bool   // the store has less than the history was told that it has
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

// elsewhere notes that the room of another pod has stored the whole.
func (st *storing) elsewhere() {
	st.lost = false
	if kept := st.room.kept; st.room.asks.awaited && kept.Marked != nil {
		kept.Marked()
	}
}

// noteStored notes that the store has everything, unless more has changed.
func (st *storing) noteStored(changes uint64) {
	if st.changes == changes {
		st.changed = false
	}
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
	if st.room.content.store.Stats().Bytes > ystore.MaxMessage {
		body := st.room.content.store.EncodeBehind(len(head))
		copy(body, head)
		return body
	}
	return append(head, st.room.content.state()...)
}
