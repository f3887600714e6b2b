package history

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// How long one request to JetStream may stay without an answer before it is sent
// again. Reading waits longer each time, so that an overloaded leader is not
// asked ever more.
const (
	attemptTime = 2 * time.Second
	attemptMax  = 16 * time.Second
	// A purge looks through blocks on disk.
	purgeTime = 10 * time.Second
	// A list is long.
	listTime = 30 * time.Second
)

// inbox takes the answers of requests, over the connections of a history's life.
type inbox struct {
	*natsconn.Replies

	mu    sync.Mutex
	ended chan struct{} // of the calls on the present connection
}

// call collects the answers of one request.
type call struct {
	inbox *inbox
	reply string // the subject of its answers

	came  chan struct{} // holds one notice: the last answer has come
	ended chan struct{} // closed when no more will come: the connection was lost

	mu       sync.Mutex
	messages []*nats.Msg
}

func newInbox(nc *nats.Conn) (*inbox, error) {
	replies, err := natsconn.NewReplies(nc)
	return &inbox{Replies: replies, ended: make(chan struct{})}, err
}

// reconnected ends the calls whose answers went to the connection before.
func (i *inbox) reconnected() {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.ended)
	i.ended = make(chan struct{})
}

func (i *inbox) open() *call {
	c := &call{inbox: i, came: make(chan struct{}, 1)}
	i.mu.Lock()
	c.ended = i.ended
	i.mu.Unlock()
	c.reply = i.Expect(c)
	return c
}

// close says that no more answers are taken.
func (c *call) close() { c.inbox.Forget(c.reply) }

// Receive takes an answer.
func (c *call) Receive(m *nats.Msg) {
	c.mu.Lock()
	c.messages = append(c.messages, m)
	c.mu.Unlock()
	// The caller is woken once per request, not once per message.
	if last(m) {
		select {
		case c.came <- struct{}{}:
		default:
		}
	}
}

// last reports whether m ends a request's answers: the status message after a
// batch, or an answer of the API, which has no header.
func last(m *nats.Msg) bool { return m.Header == nil || m.Header["Status"] != nil }

// wait returns the answers once the last one has come. Without it, it returns
// what there is with complete false when nothing has come for timeout, or nothing
// can come any more.
func (c *call) wait(ctx context.Context, timeout time.Duration) (messages []*nats.Msg, complete bool, err error) {
	silence := time.NewTimer(timeout)
	defer silence.Stop()
	seen := 0
	for {
		select {
		case <-c.came:
			return c.taken(), true, nil
		case <-c.ended:
			return c.taken(), false, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-silence.C:
			c.mu.Lock()
			n := len(c.messages)
			c.mu.Unlock()
			if n == seen {
				return c.taken(), false, nil
			}
			seen = n
			silence.Reset(timeout)
		}
	}
}

func (c *call) taken() []*nats.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages
}
