package natsconn

import (
	"crypto/rand"
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
	pending map[string]func(*nats.Msg)
}

// NewReplies subscribes on the connection. What may be under way is bounded by those who
// ask.
func NewReplies(nc *nats.Conn) (*Replies, error) {
	r := &Replies{prefix: NewInbox(nc) + ".", pending: make(map[string]func(*nats.Msg))}
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

// Expect returns a subject for the answers of one request. Each is given to receive, one
// after the other, until forget is called; once that has returned, none is. receive must
// not block, nor call methods of r.
func (r *Replies) Expect(receive func(*nats.Msg)) (reply string, forget func()) {
	token := rand.Text()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[token] = receive
	return r.prefix + token, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.pending, token)
	}
}

func (r *Replies) receive(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if receive := r.pending[m.Subject[len(r.prefix):]]; receive != nil {
		receive(m)
	}
}
