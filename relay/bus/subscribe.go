package bus

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// Subscription is interest in a subject until Unsubscribe.
type Subscription struct {
	subject string
	lane    *lane
	handler Handler

	// Guarded by lane.mu.
	nats *nats.Subscription
	nc   *nats.Conn // that nats is of
}

// Subscribe calls h for every message of the subject, which may hold wildcards,
// that another connection publishes. It costs neither a goroutine nor a channel:
// subscriptions share a few lanes. Subscribe does not wait for the server: Flush
// does.
func (b *Bus) Subscribe(subject string, h Handler) (*Subscription, error) {
	if b.closed.Load() {
		return nil, ErrClosed
	}
	s, err := b.laneOf(subject).subscribe(b, subject, h)
	if err != nil {
		if errors.Is(err, nats.ErrConnectionClosed) {
			err = b.publishError(err)
		}
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return s, nil
}

// Unsubscribe ends the subscription. It does not wait for a call of Receive that
// has begun already, so it may be called under a lock that Receive takes; one
// such call may therefore still be running when Unsubscribe returns.
func (s *Subscription) Unsubscribe() {
	// The only error is a closed connection, which has no subscriptions.
	_ = s.lane.remove(s).Unsubscribe()
}

// laneOf fixes the lane by the subject, so that two subscriptions to one subject
// see its messages in the same order.
func (b *Bus) laneOf(subject string) *lane {
	return b.lanes[maphash.String(b.seed, subject)%uint64(len(b.lanes))]
}

// lane is one goroutine and the subscriptions whose handlers it calls. nats.go
// puts their messages into the lane's channel and drops what finds it full.
type lane struct {
	messages chan *nats.Msg

	mu            sync.RWMutex
	subscriptions map[*nats.Subscription]*Subscription // nil when closed
}

func newLane(depth int) *lane {
	return &lane{
		messages:      make(chan *nats.Msg, depth),
		subscriptions: make(map[*nats.Subscription]*Subscription),
	}
}

// subscribe holds the lock until the subscription can be found, since its first
// message may arrive before nats.go returns.
func (l *lane) subscribe(b *Bus, subject string, h Handler) (*Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subscriptions == nil {
		return nil, ErrClosed
	}
	nc := b.nc.Load() // under the lock: a move that is under way sees it, or is seen
	sub, err := nc.ChanSubscribe(subject, l.messages)
	if err != nil {
		return nil, err
	}
	s := &Subscription{subject: subject, lane: l, handler: h, nats: sub, nc: nc}
	l.subscriptions[sub] = s
	return s, nil
}

func (l *lane) remove(s *Subscription) *nats.Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subscriptions, s.nats)
	return s.nats
}

// move subscribes on another connection in place of the one that ended.
func (l *lane) move(nc *nats.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range slices.Collect(maps.Values(l.subscriptions)) {
		if s.nc == nc {
			continue
		}
		sub, err := nc.ChanSubscribe(s.subject, l.messages)
		if err != nil {
			return err
		}
		delete(l.subscriptions, s.nats)
		s.nats, s.nc = sub, nc
		l.subscriptions[sub] = s
	}
	return nil
}

func (l *lane) load() (subscriptions, waiting int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.subscriptions), len(l.messages)
}

func (l *lane) run(stop <-chan struct{}) {
	for {
		select {
		case m := <-l.messages:
			l.mu.RLock()
			s := l.subscriptions[m.Sub]
			l.mu.RUnlock()
			if s != nil {
				s.handler.Receive(m.Subject, m.Reply, m.Data)
			}
		case <-stop:
			return
		}
	}
}

func (l *lane) close() {
	l.mu.Lock()
	all := l.subscriptions
	l.subscriptions = nil
	l.mu.Unlock()
	for sub := range all {
		_ = sub.Unsubscribe()
	}
}
