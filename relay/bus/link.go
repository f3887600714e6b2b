package bus

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

const (
	// stallTime is how long NATS may take nothing at all while bytes wait, before
	// the connection is given up for one to another server.
	stallTime = 10 * time.Second
	// pieceSize is what has to go out within stallTime.
	pieceSize = 64 << 10
	// lingerTime is how long closing waits for what an embedded server has not
	// taken yet. A kernel would keep it; a pipe has no buffer.
	lingerTime = 100 * time.Millisecond
	// readWindow is how many bytes are read between two looks at whether the
	// handlers keep up. It bounds what waits for them, since the lanes are bounded
	// in messages only.
	readWindow = 64 << 20
)

var errLinkClosed = errors.New("connection to NATS is closed")

// link is the way to NATS under a nats.Conn. nats.go writes to its connection
// under the lock that every publish takes, so a server that stops reading, or a
// dial to one that does not answer, would stop every room. A link takes whatever
// is written at once, and knows without any lock whether there is a connection.
// It is the connection's dialer, and outlives the connections.
type link struct {
	server        nats.InProcessConnProvider // nil: TCP
	open          func() (*nats.Conn, error) // makes another nats.Conn on this link
	current       atomic.Pointer[wire]
	awaitHandlers atomic.Pointer[func()] // waits for the handlers; nil while there are none
}

// option makes nats.go use the link.
func (l *link) option() nats.Option {
	if l.server != nil {
		return nats.InProcessServer(l)
	}
	return nats.SetCustomDialer(l)
}

// linkOf finds the link of a connection that Connect made.
func linkOf(nc *nats.Conn) *link {
	if l, ok := nc.Opts.CustomDialer.(*link); ok {
		return l
	}
	l, _ := nc.Opts.InProcessServer.(*link)
	return l
}

// Dial makes a link a nats.CustomDialer.
func (l *link) Dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, natsconn.DialTimeout)
	if err != nil {
		return nil, err
	}
	return l.use(c), nil
}

// InProcessConn makes a link a nats.InProcessConnProvider.
func (l *link) InProcessConn() (net.Conn, error) {
	c, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return l.use(c), nil
}

// use makes c the link's connection, and closes the one before: nats.go forgets one
// whose greeting failed without closing it.
func (l *link) use(c net.Conn) *wire {
	w := &wire{Conn: c, link: l, try: tryWriter(c), linger: l.server != nil}
	w.idle.L = &w.mu
	if before := l.current.Swap(w); before != nil {
		_ = before.Close()
	}
	return w
}

// confirm declares the connection usable, once nats.go has said hello on it. One
// that has failed since stays unusable.
func (l *link) confirm(nc *nats.Conn) {
	w := l.current.Load()
	if w != nil && nc.IsConnected() {
		w.confirmed.Store(true)
	}
}

func (l *link) up() bool {
	w := l.current.Load()
	return w != nil && w.confirmed.Load() && !w.failed.Load()
}

func (l *link) backlog() int {
	if w := l.current.Load(); w != nil {
		return int(w.queued.Load())
	}
	return 0
}

// wire is one connection of a link. Write never blocks: what the kernel does not
// take at once is queued for a goroutine that lives as long as the queue. An
// error comes with a later Write, or with Read.
type wire struct {
	net.Conn
	link   *link
	try    func([]byte) int // writes what goes without blocking; nil: cannot
	linger bool

	read int // bytes since the last look at the handlers, owned by Read

	confirmed atomic.Bool
	failed    atomic.Bool
	queued    atomic.Int64 // bytes in queue, or being written from it

	mu      sync.Mutex
	idle    sync.Cond // no writer runs
	queue   [][]byte
	writing bool
	err     error
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.failed.Store(true)
	}
	if w.read += n; w.read > readWindow {
		w.read = 0
		if await := w.link.awaitHandlers.Load(); await != nil {
			(*await)()
		}
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	rest := p
	if !w.writing && w.try != nil {
		rest = p[w.try(p):]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	w.enqueueLocked(rest)
	if !w.writing {
		w.writing = true
		go w.drain()
	}
	return len(p), nil
}

// enqueueLocked copies p: it is nats.go's buffer.
func (w *wire) enqueueLocked(p []byte) {
	w.queued.Add(int64(len(p)))
	if n := len(w.queue); n > 0 && cap(w.queue[n-1])-len(w.queue[n-1]) >= len(p) {
		w.queue[n-1] = append(w.queue[n-1], p...)
		return
	}
	piece := make([]byte, 0, max(len(p), 4<<10))
	w.queue = append(w.queue, append(piece, p...))
}

// drain writes the queue until it is empty.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && w.err == nil {
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		err := w.send(queue)
		w.mu.Lock()
		if err != nil {
			w.failLocked(err)
		}
	}
	w.writing = false
	w.idle.Broadcast()
}

func (w *wire) send(queue [][]byte) error {
	for _, piece := range queue {
		for len(piece) > 0 {
			_ = w.Conn.SetWriteDeadline(time.Now().Add(stallTime))
			n, err := w.Conn.Write(piece[:min(len(piece), pieceSize)])
			w.queued.Add(-int64(n))
			if err != nil {
				return err
			}
			piece = piece[n:]
		}
	}
	// The next attempt without blocking must not meet an old deadline.
	return w.Conn.SetWriteDeadline(time.Time{})
}

func (w *wire) failLocked(err error) {
	w.failed.Store(true)
	if w.err == nil {
		w.err = err
	}
	w.queue = nil
	w.queued.Store(0)
	w.Conn.Close()
}

// Close ends the connection and waits for the writer.
func (w *wire) Close() error {
	w.failed.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.linger && w.writing && w.err == nil {
		// Whether the writer ends or the time does, closing goes on below.
		late := time.AfterFunc(lingerTime, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failLocked(errLinkClosed)
		})
		for w.writing {
			w.idle.Wait()
		}
		late.Stop()
	}
	w.failLocked(errLinkClosed)
	for w.writing {
		w.idle.Wait()
	}
	return nil
}

// SetDeadline bounds reading only: the writer has a deadline of its own, and
// Write never blocks.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing, for the same reason.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
