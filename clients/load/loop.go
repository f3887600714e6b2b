package load

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// A sink is told what happens on a socket. It is called on the loop's goroutine only.
type sink interface {
	opened(now int64)
	received(data []byte, now int64) // data is lent for the call
	closed(err error)
}

// A sock is one TCP or TLS connection of a loop. All methods belong to the loop's
// goroutine.
type sock struct {
	loop *loop
	sink sink
	dead bool

	fd         int // of a polled socket; -1 otherwise
	generation int32
	connecting bool
	out        []byte // what the kernel did not take yet

	relayed *relayed // set where a goroutine reads and writes instead of the poller
}

// A loop runs all sockets of a Runner on one goroutine, the one that calls poll. Times
// are nanoseconds since the loop began.
type loop struct {
	start  time.Time
	poller poller

	mu    sync.Mutex
	inbox []func(now int64) // from the goroutines of relayed sockets
}

func newLoop() (*loop, error) {
	l := &loop{start: time.Now()}
	return l, l.poller.open()
}

// now is the time since the loop began, in nanoseconds.
func (l *loop) now() int64 { return int64(time.Since(l.start)) }

// poll waits for events until the given time at most, handles them and returns.
func (l *loop) poll(until int64) {
	l.poller.wait(l, until-l.now())
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f(l.now())
	}
}

// post runs f on the loop's goroutine, soon.
func (l *loop) post(f func(now int64)) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	l.poller.wake()
}

func (l *loop) close() { l.poller.close() }

// dial starts a connection and returns at once; the sink hears of the rest.
func (l *loop) dial(address *net.TCPAddr, secure *tls.Config, s sink) *sock {
	if secure == nil && canPoll {
		return l.poller.dial(l, address, s)
	}
	return dialRelayed(l, address, secure, s)
}

// fail ends a socket on the loop's side and tells its sink.
func (s *sock) fail(err error) {
	if s.dead {
		return
	}
	s.abandon()
	s.sink.closed(err)
}

// abandon ends a socket without telling its sink.
func (s *sock) abandon() {
	if s.dead {
		return
	}
	s.dead = true
	s.out = nil
	if s.relayed != nil {
		s.relayed.close()
		return
	}
	s.loop.poller.drop(s)
}

// write sends p now if the kernel takes it, else as soon as it does.
func (s *sock) write(p []byte) {
	switch {
	case s.dead:
	case s.relayed != nil:
		s.relayed.write(p)
	case s.connecting || len(s.out) > 0:
		s.out = append(s.out, p...)
	default:
		s.loop.poller.write(s, p)
	}
}

// A relayed is the goroutine side of a socket that cannot be polled: TLS, or a system
// without epoll. It costs two goroutines a connection.
type relayed struct {
	mu    sync.Mutex
	ready sync.Cond
	conn  net.Conn
	out   []byte
	ended bool
}

func dialRelayed(l *loop, address *net.TCPAddr, secure *tls.Config, to sink) *sock {
	s := &sock{loop: l, sink: to, fd: -1, relayed: &relayed{}}
	s.relayed.ready.L = &s.relayed.mu
	go s.relayed.run(l, s, address, secure)
	return s
}

func (r *relayed) run(l *loop, s *sock, address *net.TCPAddr, secure *tls.Config) {
	conn, err := net.DialTimeout("tcp", address.String(), 30*time.Second)
	if err == nil && secure != nil {
		conn = tls.Client(conn, secure)
	}
	r.mu.Lock()
	r.conn = conn
	ended := r.ended
	r.mu.Unlock()
	if err != nil {
		l.post(func(int64) { s.fail(err) })
		return
	}
	if ended {
		conn.Close()
		return
	}
	l.post(func(now int64) { s.sink.opened(now) })
	go r.drain(conn)
	for {
		data := make([]byte, 32<<10)
		n, err := conn.Read(data)
		l.post(func(now int64) {
			if !s.dead && n > 0 {
				s.sink.received(data[:n], now)
			}
			if err != nil {
				s.fail(err)
			}
		})
		if err != nil {
			return
		}
	}
}

// drain writes what is queued until the socket ends.
func (r *relayed) drain(conn net.Conn) {
	for {
		r.mu.Lock()
		for len(r.out) == 0 && !r.ended {
			r.ready.Wait()
		}
		p, ended := r.out, r.ended
		r.out = nil
		r.mu.Unlock()
		if ended {
			return
		}
		if _, err := conn.Write(p); err != nil {
			return // the reader sees it too, and tells
		}
	}
}

func (r *relayed) write(p []byte) {
	r.mu.Lock()
	r.out = append(r.out, p...)
	r.mu.Unlock()
	r.ready.Signal()
}

func (r *relayed) close() {
	r.mu.Lock()
	r.ended = true
	conn := r.conn
	r.mu.Unlock()
	r.ready.Signal()
	if conn != nil {
		conn.Close()
	}
}
