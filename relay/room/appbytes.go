package room

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/wsnode/wsnode/docid"
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
	t, counted := r.content.uncount()
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
