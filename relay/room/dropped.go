package room

import (
	"sync"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/awareness"
)

// told remembers the apps about which something was logged.
type told struct {
	mu   sync.Mutex
	apps map[docid.AppID]struct{}
}

// maxTold bounds the apps that are remembered; those beyond it are only counted.
const maxTold = 10_000

// first reports whether the app is to be logged.
func (t *told) first(app docid.AppID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.apps[app]; known || len(t.apps) >= maxTold {
		return false
	}
	if t.apps == nil {
		t.apps = map[docid.AppID]struct{}{}
	}
	t.apps[app] = struct{}{}
	return true
}

// dropped counts awareness that was dropped. States that are too large are a mistake in an
// application, whose users do not see each other: that is logged, once for each app.
func (rs *Rooms) dropped(doc docid.Document, d awareness.Drops) {
	if d == (awareness.Drops{}) {
		return
	}
	c := &rs.Counters.Dropped
	c.Large.Add(int64(d.Large))
	c.Invalid.Add(int64(d.Invalid))
	c.Many.Add(int64(d.Many))
	c.Ahead.Add(int64(d.Ahead))
	c.Foreign.Add(int64(d.Foreign))
	if d.Large > 0 && rs.told.first(doc.AppID()) {
		rs.cfg.Log.Warn("awareness states of the app are too large and are dropped: its users do not see each other",
			"document", doc.String(), "limit", awareness.MaxStateBytes)
	}
}
