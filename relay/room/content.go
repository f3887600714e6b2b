package room

import (
	"slices"
	"sync/atomic"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// content is what the document says: its store, and what follows from it. Others read the
// store, but only content changes it; so what is made of the whole document for those who
// join, and what its app is charged, are always of the store as it is. Guarded by Room.mu.
type content struct {
	store *ystore.Store
	keeps atomic.Bool // what is deleted; set under mu

	full  *wire.Message // cached SyncStep2 of a whole small document, nil after a change
	start *course       // the same of a large one

	present *awareness.Set // who is here, which is charged as well
	app     *appTotal      // nil: the bytes of apps are not limited
	counted int            // of them this document's
}

// apply takes an update into the store: see ystore.Store.ApplyShared.
func (c *content) apply(update []byte, t ystore.Terms) (fresh, deliver []byte, err error) {
	fresh, deliver, err = c.store.ApplyShared(update, t)
	if err != nil || fresh == nil {
		return nil, nil, err
	}
	c.count()
	c.full = nil
	c.start.kill()
	c.start = nil
	return fresh, deliver, nil
}

// whole is the document as one SyncStep2, which is kept until the document changes.
func (c *content) whole() *wire.Message {
	if c.full == nil {
		c.full = around(wire.Step2, c.store.EncodeBehind(wire.Headroom, nil))
	}
	return c.full
}

// pieces is the course of the whole of a large document.
func (c *content) pieces() *course {
	if c.start == nil {
		c.start = new(course)
	}
	return c.start
}

// stateOf is the document as one update, in memory of a pool unless it is made already;
// shared says that it must not be changed.
func (c *content) stateOf(pool *bodies) (state []byte, shared bool) {
	if c.full != nil {
		return c.full.Payload(), true
	}
	return c.store.EncodeBehind(0, pool.get()), false
}

// stateBehind is the document as one update behind a head, in a slice of its own.
func (c *content) stateBehind(head []byte) []byte {
	if c.full != nil {
		return slices.Concat(head, c.full.Payload())
	}
	state := c.store.EncodeBehind(len(head), nil)
	copy(state, head)
	return state
}

// state is the document as one update, which must not be changed.
func (c *content) state() []byte {
	if c.store.Stats().Bytes > ystore.MaxMessage { // no client is sent it at once
		return c.store.EncodeBehind(0, nil)
	}
	return c.whole().Payload()
}

// keep has the content of what is deleted kept.
func (c *content) keep() {
	c.store.Keep()
	c.keeps.Store(true)
}

// merge makes one update of several. It needs no lock.
func (c *content) merge(updates [][]byte) ([]byte, error) {
	if c.keeps.Load() {
		return ystore.MergeKeeping(updates)
	}
	return ystore.Merge(updates)
}

// fits reports whether a client's update leaves its app within a limit, in bytes. One
// that brings nothing new always does.
func (c *content) fits(update []byte, limit int) error {
	if c.app == nil || int(c.app.bytes.Load())+ystore.MostHeld*len(update) <= limit {
		return nil
	}
	growth, err := c.store.Growth(update)
	if err == nil && growth > 0 && int(c.app.bytes.Load())+growth > limit {
		err = &AppTooLargeError{Limit: limit}
	}
	return err
}

// count brings what the app is charged up to date, after a change of what the document
// says or of who is here: both take memory. The message that is kept for joiners is not
// counted: it goes with the next change.
func (c *content) count() {
	if c.app != nil {
		size := c.store.Stats().Held + c.present.Bytes()
		c.app.bytes.Add(int64(size - c.counted))
		c.counted = size
	}
}

// uncount ends that the document is charged to its app, and returns what it was.
func (c *content) uncount() (app *appTotal, counted int) {
	app, counted = c.app, c.counted
	c.app = nil
	return app, counted
}
