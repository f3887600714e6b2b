package room

import (
	"context"
	"fmt"
)

// An app may have its clients told that their edits are saved only once the store has
// them: then "saved" outlives the region's NATS as well. Such a question waits for the
// history first, as all do (asks.go), and for the store then. Rooms in which nobody asks
// so keep one number more, which is touched when something was stored.

// awaitStore tells whoever stores whether clients wait for that.
func (qs *questions) awaitStore() {
	waits := len(qs.unstored) > 0
	if waits == qs.awaited {
		return
	}
	qs.awaited = waits
	if told := qs.room.kept.Awaited; told != nil {
		told(waits)
	}
}

// hasStored notes that the store has every change up to a number, and tells those who
// waited for it.
func (qs *questions) hasStored(number uint64) {
	st := &qs.room.storing
	st.has(number)
	answered := 0
	for _, a := range qs.unstored {
		if a.number > st.stored {
			break
		}
		answered++
		qs.give(a)
	}
	qs.unstored = append(qs.unstored[:0], qs.unstored[answered:]...)
	qs.sendSoon()
	qs.awaitStore()
}

// Reached finds out how far the store has what the room holds, when it is the room of
// another pod that stores: from the history, in which that room says up to which sequence
// it did.
func (r *Room) Reached(ctx context.Context) error {
	r.mu.Lock()
	now := noted{number: r.asks.durable(), life: r.log.water.life}
	subject := r.at.updates
	r.mu.Unlock()
	found, _, err := r.backlog.read(ctx, subject)
	if err != nil {
		return fmt.Errorf("read how far %s is stored: %w", r.doc, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.log.water.life != now.life || found.Last == 0 {
		return nil // another history, or a lost one, says nothing of this one's numbers
	}
	if r.storing.lost {
		return nil // nor does this one of a store that was set back since
	}
	now.seq = found.Changed
	if number := r.storing.reached(now, found); number > 0 {
		r.asks.hasStored(number)
	}
	return nil
}
