package natsconn

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// Replies is the one subscription to which the answers of many requests come: a
// subscription per request would cost ten times the request. Each request has a subject
// of its own, whose last token nobody can guess; those of the client library can be
// counted, and who knows the next one can answer in the place of whoever is asked. Its
// methods may be called at the same time by several goroutines.
type Replies struct {
	prefix string // ends with a dot

	mu      sync.Mutex
	sub     *nats.Subscription
	pending map[string]Receiver
}

// NewReplies subscribes on the connection. What may be under way is bounded by those who
// ask.
func NewReplies(nc *nats.Conn) (*Replies, error) {
	r := &Replies{prefix: NewInboxes(nc), pending: make(map[string]Receiver)}
	return r, r.Move(nc)
}

// Move subscribes on a connection, in place of the one before, which has ended.
func (r *Replies) Move(nc *nats.Conn) error {
	sub, err := nc.Subscribe(r.prefix+"*", r.receive)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sub = sub
	return nil
}

// Close ends the subscription.
func (r *Replies) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.sub.Unsubscribe() // a connection that has ended took it along
}

// Receiver takes the answers of one request, one after the other. It must not block, nor
// call methods of Replies.
type Receiver interface{ Receive(*nats.Msg) }

// ReceiverFunc is a Receiver that is a function.
type ReceiverFunc func(*nats.Msg)

// Receive calls the function.
func (f ReceiverFunc) Receive(m *nats.Msg) { f(m) }

// Expect returns a subject for the answers of one request, which come to the receiver until
// Forget is called; once that has returned, none does.
func (r *Replies) Expect(receiver Receiver) (reply string) {
	spelled := make([]byte, 0, 128)
	reply = string(AppendToken(append(spelled, r.prefix...)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[reply[len(r.prefix):]] = receiver
	return reply
}

// Forget ends what Expect began.
func (r *Replies) Forget(reply string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, reply[len(r.prefix):])
}

func (r *Replies) receive(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if receiver := r.pending[m.Subject[len(r.prefix):]]; receiver != nil {
		receiver.Receive(m)
	}
}
