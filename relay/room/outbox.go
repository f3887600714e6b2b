package room

import (
	"context"
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
)

// pending is what waits for the outbox. The room stands in the outbox as long as scheduled
// is set, and nothing waits otherwise but what is to be tried again. Guarded by Room.mu.
type pending struct {
	room      *Room
	scheduled bool
	updates   [][]byte // immutable
	signals   bool     // a question of another pod, or for one, is due
}

// schedule puts the room into the outbox: now, or a little later with what others take
// until then.
func (p *pending) schedule(now bool) {
	o := &p.room.rooms.outbox
	switch {
	case now && (!p.scheduled || p.room.peers.alone()): // who is alone may stand in it for later
		p.scheduled = true
		o.now(p.room)
	case !p.scheduled:
		p.scheduled = true
		o.later(p.room, p.room.rooms.cfg.BatchWindow)
	}
}

// add is a change that waits, and again those whose append failed: they wait once more, in
// front of the others.
func (p *pending) add(change []byte)      { p.updates = append(p.updates, change) }
func (p *pending) again(changes [][]byte) { p.updates = append(changes, p.updates...) }

// signal has the questions and answers sent that are due to other pods.
func (p *pending) signal() {
	p.signals = true
	p.schedule(true)
}

// shared is that the room is no longer alone: what was held back for a batch leaves now.
func (p *pending) shared() {
	if len(p.updates) > 0 {
		p.room.rooms.outbox.now(p.room)
	}
}

// take returns what waits, which leaves now.
func (p *pending) take() (updates [][]byte, signals bool) {
	updates, signals = p.updates, p.signals
	p.scheduled, p.updates, p.signals = false, nil, false
	return updates, signals
}

// publish sends what the room has gathered: one log message, and one message of
// awareness. Only the outbox calls it.
func (r *Room) publish() {
	r.mu.Lock()
	updates, signals := r.out.take()
	owed := r.log.owed
	states := r.presence.depart()
	at := r.at.subjects
	reannounce := r.presence.reannounceDue(time.Now())
	var questions []addressed
	if signals {
		questions = r.peers.due(r.id, r.rooms.cfg.Bus.PodSubject())
	}
	flight := r.log.water.depart()
	r.mu.Unlock()

	if owed {
		r.log.appendOwed()
	}
	if len(updates) > 0 {
		r.log.append(oplog.Updates, r.log.merge(updates), flight, nil)
	}
	if len(states) > 0 {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendStates(nil, r.id, at.tag, states))
	}
	for _, q := range questions {
		_ = r.rooms.cfg.Bus.Publish(q.pod, q.data)
	}
	if reannounce {
		r.presence.reannounceAll()
	}
}

// outbox is the queue of rooms that have something to publish, drained by one
// goroutine: no edit waits for the network, and what a busy room gathers
// meanwhile leaves as one message.
type outbox struct {
	wake chan struct{}

	mu      sync.Mutex
	ready   []*Room
	waiting []waiting // in the order of due, since all wait equally long
}

type waiting struct {
	room *Room
	due  time.Time
}

func (o *outbox) now(r *Room) {
	o.mu.Lock()
	o.ready = append(o.ready, r)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) later(r *Room, window time.Duration) {
	o.mu.Lock()
	first := len(o.waiting) == 0
	o.waiting = append(o.waiting, waiting{r, time.Now().Add(window)})
	o.mu.Unlock()
	if first {
		o.signal()
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) run(ctx context.Context, window time.Duration) {
	timer := time.NewTimer(window)
	defer timer.Stop()
	var batch []*Room
	for {
		var next time.Duration
		batch, next = o.take(batch[:0])
		for i, r := range batch {
			r.publish()
			batch[i] = nil
		}
		if len(batch) > 0 {
			continue
		}
		if next > 0 {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-timer.C:
		}
	}
}

// take returns the rooms that are due, and how long to wait for the next; 0 if
// none waits.
func (o *outbox) take(batch []*Room) ([]*Room, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch = append(batch, o.ready...)
	clear(o.ready)
	o.ready = o.ready[:0]
	if len(o.waiting) == 0 {
		return batch, 0
	}
	if wait := time.Until(o.waiting[0].due); wait > 0 {
		return batch, wait
	}
	// All that wait leave with the first, so that NATS wakes once for them.
	for _, w := range o.waiting {
		batch = append(batch, w.room)
	}
	clear(o.waiting)
	o.waiting = o.waiting[:0]
	return batch, 0
}
