package conn

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a TCP connection whose Write can be told never to block: it tries the
// socket once and queues what the socket does not take. Writing frames directly
// from the goroutine that has them saves waking another for each, which is a
// third of the cost of a hot document.
//
// Until direct is called it is an ordinary net.Conn. All methods may be called
// concurrently.
type socket struct {
	net.Conn
	raw syscall.RawConn // static; nil: not a socket, always queue

	// From here to in is what Conn.Prefetch has fetched for a write.
	out atomic.Int64 // bytes, for operators
	fd  int          // of raw, to be written to under mu while the socket is not closed

	mu       sync.Mutex
	nonblock bool
	closing  bool // the close frame has been handed over: nothing may follow it
	writing  bool // a goroutine drains rest and what waits at the handler
	again    bool // it must ask the handler once more before it ends
	closed   bool
	err      error    // sticky
	rest     [][]byte // what the socket did not take yet, or, while writing is not set, what a Batch holds

	in     atomic.Int64 // bytes, for operators
	lastIn atomic.Int64 // when bytes last came from the client, by clock

	// Guarded by mu.
	parking *parking // where the connection is parked, or was
	ticket  uint64
	owner   *Conn // whose handler is told when the socket has taken everything; nil: no handler is
	timeout time.Duration

	// owned by the reader
	attemptRead func(fd uintptr) bool // made once: a closure per read would allocate
	buf         *[]byte
	readN       int
	readErr     error
	waking      bool // the connection was parked, and no message has come since
	noWait      bool // what cannot be read at once ends in errPark

	kicking sync.Mutex
	kicked  bool // the reader's deadline is only to make it look up; guarded by kicking
}

// Listener makes sockets of the connections that it accepts.
type Listener struct{ net.Listener }

// Accept waits for the next connection.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newSocket(c), nil
}

func newSocket(c net.Conn) *socket {
	conn := &socket{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			conn.raw, conn.attemptRead = raw, conn.tryRead
			_ = raw.Control(func(fd uintptr) { conn.fd = int(fd) })
		}
	}
	conn.lastIn.Store(clock(time.Now()))
	return conn
}

// Close closes the connection; one that is parked is read again, and so finds out.
func (c *socket) Close() error {
	c.mu.Lock()
	c.closed = true // before its descriptor may become another's
	parking, ticket := c.parking, c.ticket
	c.parking = nil
	c.mu.Unlock()
	err := c.Conn.Close()
	if parking != nil {
		parking.wake(ticket)
	}
	return err
}

// direct switches Write to never blocking. The owner's handler is called by the draining
// goroutine each time the socket has taken everything, to hand over more; false
// ends it. A write that makes no progress for timeout ends the connection.
func (c *socket) direct(owner *Conn, timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nonblock, c.owner, c.timeout = true, owner, timeout
}

// Write hands p over. In direct mode it copies what the socket does not take at
// once and returns without waiting.
func (c *socket) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.nonblock {
		c.mu.Unlock()
		n, err := c.Conn.Write(p)
		c.out.Add(int64(n))
		return n, err
	}
	defer c.mu.Unlock()
	if c.closing {
		return len(p), nil // an answer to the client's close frame, after our own
	}
	if err := c.write(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeShared is Write for bytes that nobody will change: they are not copied.
// It reports whether the socket is behind, in which case Handler.Drained will be called.
func (c *socket) writeShared(p []byte) (behind bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false, nil
	}
	err = c.write(p, true)
	return c.writing, err
}

// writeLast writes the close frame, after which nothing is written.
func (c *socket) writeLast(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.write(p, true)
		c.closing = true
	}
}

// finish lets nothing more be written.
func (c *socket) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
}

// behind reports whether bytes wait for the socket, in which case Handler.Drained will
// be called.
func (c *socket) behind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writing
}

func (c *socket) hasClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

var errStalled = errors.New("the client does not read")

// write tries the socket if nothing waits before p, and queues what is left.
func (c *socket) write(p []byte, shared bool) error {
	if c.err != nil {
		return c.err
	}
	c.out.Add(int64(len(p)))
	if !c.writing && len(c.rest) > 0 {
		if !shared {
			p = append([]byte(nil), p...)
		}
		c.rest = append(c.rest, p)
		return c.writeHeld()
	}
	if !c.writing && c.raw != nil {
		n, err := c.tryWrite(p)
		if err != nil {
			return c.failed(err)
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
	if !shared {
		p = append([]byte(nil), p...)
	}
	c.rest = append(c.rest, p)
	if !c.writing {
		c.writing = true
		go c.drain()
	}
	return nil
}

// failed notes the error of a write that did not wait. The reader may not have noticed.
func (c *socket) failed(err error) error {
	c.err = err
	go c.Close() // which takes mu
	return err
}

// tryMost bounds what is written by one who does not wait, in bytes: a room and its
// members stand still meanwhile, and a client that reads as fast as it is written to
// would take any number. What is left is drained.
const tryMost = 1 << 20

// tryWrite writes once, without waiting for the socket, and past what the runtime has
// around a descriptor: mu and closed see to it that it is the socket's still, and nobody
// waits.
func (c *socket) tryWrite(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	n, err := writeNow(c.fd, p[:min(len(p), tryMost)])
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return n, err
}

// drain writes what waits, blocking, and ends when nothing is left. There is at
// most one per connection, and none while the socket keeps up.
func (c *socket) drain() {
	for {
		rest, err := c.takeRest()
		if len(rest) > 0 {
			if err = c.writeAll(rest); err != nil {
				c.fail(err)
			}
			continue
		}
		// The queue is asked outside the lock, since it writes to this Conn.
		if err == nil && c.owner != nil && c.owner.handler.Drained() {
			continue
		}
		c.mu.Lock()
		if len(c.rest) == 0 && !c.again || c.err != nil {
			c.writing, c.rest = false, nil
			// Left standing, it would fail the first direct write after it. That it
			// cannot be cleared means that the connection is closed.
			_ = c.Conn.SetWriteDeadline(time.Time{})
			c.mu.Unlock()
			return
		}
		c.again = false
		c.mu.Unlock()
	}
}

// startDrain has Handler.Drained called when the socket has taken everything, though nothing may
// be waiting for it.
func (c *socket) startDrain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
	if !c.writing && c.err == nil {
		c.writing = true
		go c.drain()
	}
}

func (c *socket) takeRest() ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.rest
	c.rest = nil
	if c.err != nil {
		return nil, c.err
	}
	return rest, nil
}

func (c *socket) fail(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	_ = c.Close()
}

// chunk bounds what one blocking write must move before its deadline.
const chunk = 256 << 10

// writeAll writes everything, and fails only when nothing moved for the timeout.
func (c *socket) writeAll(parts [][]byte) error {
	buffers := net.Buffers(parts)
	for len(buffers) > 0 {
		piece := take(&buffers, chunk)
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
		for len(piece) > 0 {
			n, err := piece.WriteTo(c.Conn)
			if err == nil {
				break
			}
			if timeout := (net.Error)(nil); n == 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
				return errors.Join(errStalled, err)
			}
			if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
				return err
			}
		}
	}
	return nil
}

// take removes up to limit bytes from the front of the buffers.
func take(b *net.Buffers, limit int) net.Buffers {
	var piece net.Buffers
	for len(*b) > 0 && limit > 0 {
		head := (*b)[0]
		if len(head) > limit {
			piece = append(piece, head[:limit])
			(*b)[0] = head[limit:]
			break
		}
		piece = append(piece, head)
		limit -= len(head)
		*b = (*b)[1:]
	}
	return piece
}
