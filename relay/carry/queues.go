package carry

import (
	"sync"
	"time"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// toHome is what a client sent and the home was not written yet.
type toHome struct {
	bound int           // in bytes, static
	most  int           // above it nothing more is taken, however long it waits; static
	wake  chan struct{} // something is there; holds one token
	room  chan struct{} // something was taken; holds one token

	// owe adds to the bytes that the node holds for single clients; what is negative takes
	// away. It reports whether they are within their bound. Static; nil: there is none.
	owe func(bytes int) (bears bool)

	mu     sync.Mutex
	queue  [][]byte
	bytes  int
	due    int // acknowledgements that the queue is worth
	closed bool
}

// init sets the bounds: message is how large one may be.
func (q *toHome) init(bound, message int) {
	q.bound, q.most, q.wake, q.room = bound, bound+message, make(chan struct{}, 1), make(chan struct{}, 1)
}

// waitMost is how long a client is not read because its home is behind. Then one more of
// its messages is read, so that its connection does not look dead to the node; toHome.most
// bounds the memory of these.
const waitMost = 10 * time.Second

// put appends a message, and waits while too much is there. The client's reader calls it.
// After a wait it returns a pause of next to nothing, by which the connection knows that it
// was silent because it was not read. bears is false if too much waits for the homes of its
// app's clients.
func (q *toHome) put(message []byte, due int) (pause time.Duration, bears bool) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return 0, true
	}
	bears = q.owe == nil || q.owe(len(message))
	q.queue = append(q.queue, message)
	q.bytes += len(message)
	q.due += due
	over := q.bytes > q.bound
	q.mu.Unlock()
	notify(q.wake)
	if !over || !bears {
		return 0, bears
	}
	timer := time.NewTimer(waitMost)
	defer timer.Stop()
	for q.behind() {
		select {
		case <-q.room:
		case <-timer.C:
			if q.size() <= q.most {
				return 1, true
			}
			timer.Reset(waitMost)
		}
	}
	return 1, true
}

func (q *toHome) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// alive has the home hear something, if nothing is on its way.
func (q *toHome) alive() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 && !q.closed {
		message := wire.KeepAlive.Content()
		q.queue = append(q.queue, message)
		q.bytes += len(message)
		if q.owe != nil {
			q.owe(len(message))
		}
		notify(q.wake)
	}
}

func (q *toHome) behind() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes > q.bound && !q.closed
}

// forget drops the acknowledgements that are due.
func (q *toHome) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = 0
}

// take waits for messages and takes them all. false: there will be none.
func (q *toHome) take() (messages [][]byte, due int, ok bool) {
	for {
		q.mu.Lock()
		messages, due = q.queue, q.due
		q.queue, q.due = nil, 0
		closed := q.closed
		q.mu.Unlock()
		if len(messages) > 0 || due > 0 {
			return messages, due, true
		}
		if closed {
			return nil, 0, false
		}
		<-q.wake
	}
}

// written notes that so many bytes of what was taken are on their way.
func (q *toHome) written(bytes int) {
	q.mu.Lock()
	q.bytes -= bytes
	if q.owe != nil {
		q.owe(-bytes)
	}
	q.mu.Unlock()
	notify(q.room)
}

// drop forgets what is left when nobody takes any more. The queue is closed.
func (q *toHome) drop() {
	q.mu.Lock()
	left := q.bytes
	q.queue = nil
	q.mu.Unlock()
	q.written(left)
}

// close lets nothing more in; what is there is still taken.
func (q *toHome) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	notify(q.wake)
	notify(q.room)
}

// toClient is what came from the home and waits for the client's socket, which many
// documents may share. Methods are given the client's connection.
type toClient struct {
	bound int           // in bytes, of all that waits for the connection; static
	room  chan struct{} // something was taken; holds one token

	mu     sync.Mutex
	behind bool // the socket does not keep up: everything is queued
	gone   bool // nothing more is sent
	queue  []wire.Frame
	queued int // bytes in it
}

func (q *toClient) init(bound int) { q.bound, q.room = bound, make(chan struct{}, 1) }

// write hands a message over, or queues it. It never blocks.
func (q *toClient) write(c *conn.Conn, via *session.Channel, f wire.Frame) {
	c.Sent()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return
	}
	via.Sent(f)
	if !q.behind {
		q.behind = c.Write(f.Bytes())
		return
	}
	q.queue = append(q.queue, f)
	q.queued += len(f.Bytes())
	c.Queue(len(f.Bytes()))
}

// full reports whether the home should not be read until something was taken.
func (q *toClient) full(c *conn.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queued > 0 && c.Queue(0) > q.bound && !q.gone
}

func (q *toClient) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.behind
}

func (q *toClient) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queued
}

// drained is session.Stream's.
func (q *toClient) drained(c *conn.Conn) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.behind = false
		return false
	}
	for _, f := range q.queue {
		c.Write(f.Bytes())
	}
	q.drop(c)
	return true
}

func (q *toClient) drop(c *conn.Conn) {
	c.Queue(-q.queued)
	q.queue, q.queued = nil, 0
	notify(q.room)
}

func (q *toClient) detach(c *conn.Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
	q.drop(c)
}

// notify leaves a token unless one is there.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
