package room

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/ystore"
)

// appBytes counts how much memory the documents of each app take that are open on this
// node, for Config.MaxAppBytes. A document that several nodes have counts on each
// of them. What other pods publish is counted and never refused: the node that
// took it has judged it, and rooms that share a document must not differ.
type appBytes struct {
	mu   sync.Mutex
	apps map[docid.AppID]*appTotal
}

// appTotal is the count of one app. Its rooms share it.
type appTotal struct {
	rooms int // guarded by appBytes.mu
	bytes atomic.Int64
}

// AppTooLargeError says that an edit would take the documents of its app beyond
// Config.MaxAppBytes.
type AppTooLargeError struct{ Limit int }

func (e *AppTooLargeError) Error() string {
	return fmt.Sprintf("the documents of the app would have more than %d bytes", e.Limit)
}

// Reason is the close reason.
func (e *AppTooLargeError) Reason() string {
	return fmt.Sprintf("App too large: limit %d bytes", e.Limit)
}

// enter returns the count of an app for one more room.
func (a *appBytes) enter(app docid.AppID) *appTotal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.apps == nil {
		a.apps = map[docid.AppID]*appTotal{}
	}
	t := a.apps[app]
	if t == nil {
		t = new(appTotal)
		a.apps[app] = t
	}
	t.rooms++
	return t
}

// leave takes a room out of the count.
func (a *appBytes) leave(r *Room) {
	r.mu.Lock()
	t, counted := r.app, r.counted
	r.app = nil
	r.mu.Unlock()
	if t == nil {
		return
	}
	t.bytes.Add(int64(-counted))
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.rooms--; t.rooms == 0 {
		delete(a.apps, r.doc.AppID())
	}
}

// fitsLocked reports whether a client's update leaves its app within the limit. One
// that brings nothing new always does.
func (r *Room) fitsLocked(update []byte) error {
	limit := r.rooms.cfg.MaxAppBytes
	if r.app == nil || int(r.app.bytes.Load())+ystore.MostHeld*len(update) <= limit {
		return nil
	}
	growth, err := r.store.Growth(update)
	if err == nil && growth > 0 && int(r.app.bytes.Load())+growth > limit {
		err = &AppTooLargeError{Limit: limit}
	}
	return err
}

// heldLocked is how much memory the document takes, in bytes: what it says,
// and who is there. The frame that is kept for joiners goes with the next change.
func (r *Room) heldLocked() int { return r.store.Stats().Held + r.aware.Bytes() }

// countLocked brings the count up to date after a change of what the room holds.
func (r *Room) countLocked() {
	if r.app != nil {
		size := r.heldLocked()
		r.app.bytes.Add(int64(size - r.counted))
		r.counted = size
	}
}
