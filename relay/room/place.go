package room

import (
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
)

// place is where an epoch of the document lives on NATS. It is a value.
type place struct {
	epoch            string
	updates, signals string
	tag              uint64 // of the epoch, in signals
}

// format is in what version a history is written.
func (p place) format() oplog.Format {
	if docid.StoredEpoch(p.epoch) {
		return oplog.Kept
	}
	return oplog.Plain
}

// whereabouts is the place where the room lives now, and its subscriptions: all of them are
// of this place, and a closed room has none. Its fields are guarded by Room.mu, which its
// methods take.
type whereabouts struct {
	room *Room
	place
	subs []*bus.Subscription
}

// now returns where the room lives now.
func (w *whereabouts) now() place {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	return w.place
}

// subscribe subscribes to the subjects of the present place.
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
