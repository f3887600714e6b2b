package room

import (
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
)

// subjects are those of an epoch of the document on NATS. It is a value.
type subjects struct {
	epoch            string
	updates, signals string
	tag              uint64 // of the epoch, in signals
}

// format is in what version a history is written.
func (s subjects) format() oplog.Format {
	if docid.StoredEpoch(s.epoch) {
		return oplog.Kept
	}
	return oplog.Plain
}

// whereabouts are the subjects on which the room lives now, and its subscriptions: all of them
// are to these, and a closed room has none. Its fields are guarded by Room.mu, which its
// methods take.
type whereabouts struct {
	room *Room
	subjects
	subs []*bus.Subscription
}

// now returns the present subjects.
func (w *whereabouts) now() subjects {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	return w.subjects
}

// subscribe subscribes to the present subjects.
func (w *whereabouts) subscribe() error {
	at := w.now()
	for _, subject := range []string{at.updates, at.signals} {
		sub, err := w.room.rooms.cfg.Bus.Subscribe(subject, &w.room.exchange)
		if err != nil {
			return err
		}
		if !w.owns(sub) {
			sub.Unsubscribe()
			return ErrClosed
		}
	}
	return nil
}

// owns makes a subscription the room's, unless it was closed meanwhile.
func (w *whereabouts) owns(sub *bus.Subscription) bool {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	if w.room.closed {
		return false
	}
	w.subs = append(w.subs, sub)
	return true
}

func (w *whereabouts) unsubscribe() {
	w.room.mu.Lock()
	subs := w.subs
	w.subs = nil
	w.room.mu.Unlock()
	for _, s := range subs {
		s.Unsubscribe()
	}
}
