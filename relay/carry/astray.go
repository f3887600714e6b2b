package carry

import (
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// astrayPause is for how long a region whose URL led to another one is not dialled.
const astrayPause = 30 * time.Second

// astray is the regions whose URL led to another region lately: a registry that holds a
// wrong URL, or a name that resolves to the wrong place. Clients would only be sent round.
type astray struct {
	mu    sync.Mutex
	until map[docid.Region]time.Time
}

func (a *astray) is(home docid.Region) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.until[home]
	if ok && time.Now().After(until) {
		delete(a.until, home)
		ok = false
	}
	return ok
}

// note begins a pause, and reports whether none had begun: one is worth an alarm.
func (a *astray) note(home docid.Region) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.until[home]
	if a.until == nil {
		a.until = map[docid.Region]time.Time{}
	}
	a.until[home] = time.Now().Add(astrayPause)
	return !known
}
