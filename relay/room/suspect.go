package room

import (
	"context"
	"time"
)

// A room that is heard but does not answer may be one that NATS has lost the way
// to, or from. So what it knows is looked for in the history, and the connection is
// made anew, which makes the subscriptions anew.

const (
	rereadAfter = 3 // unanswered questions, wantTimeout apart
	renewAfter  = 5
)

// suspectBus is told how often a difference was asked for in vain.
func (e *exchange) suspectBus(asked int) {
	r := e.room
	if asked >= rereadAfter {
		select {
		case r.rooms.reread <- r:
		default: // at the next question
		}
	}
	if asked >= renewAfter {
		r.rooms.cfg.Bus.Renew()
	}
}

// rereadLoop reads the histories of rooms whose peers do not answer, one after the
// other.
func (rs *Rooms) rereadLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-rs.reread:
			within, cancel := context.WithTimeout(ctx, rereadTimeout)
			_, _, err := r.backlog.read(within, r.at.now().updates)
			cancel()
			if err == nil {
				rs.Counters.Rereads.Add(1)
			} else if ctx.Err() == nil {
				rs.cfg.Log.Warn("a document's other nodes do not answer, and its history cannot be read", "document", r.doc.String(), "err", err)
			}
		}
	}
}

const rereadTimeout = 20 * time.Second
