package conn

import (
	"os"
	"sync"
	"syscall"
)

// lot is where connections that have nothing to say rest without a goroutine: a
// stack and its descriptor are 4.5 KiB, half of what an idle connection costs. An
// epoll instance watches them; it is itself watched by the runtime's poller, so the
// lot takes no thread.
//
// Who takes a resting connection out of the lot, and nobody else, goes on reading: the
// lot when there is something to read, or Conn.Close.
type lot struct {
	file   *os.File // the epoll instance
	raw    syscall.RawConn
	events [64]syscall.EpollEvent // owned by run

	mu      sync.Mutex
	tickets uint64
	resting map[uint64]*Conn // by ticket; nil once closed
}

func openLot() (*lot, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &lot{file: os.NewFile(uintptr(fd), "epoll"), resting: map[uint64]*Conn{}}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		_ = l.file.Close()
		return nil, err
	}
	return l, nil
}

// run wakes connections until close.
func (l *lot) run() {
	for {
		var n int
		err := l.raw.Read(func(epoll uintptr) bool {
			n, _ = syscall.EpollWait(int(epoll), l.events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range l.events[:max(n, 0)] {
			l.wake(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// close ends run, and wakes all that rest.
func (l *lot) close() {
	l.mu.Lock()
	resting := l.resting
	l.resting = nil
	l.mu.Unlock()
	_ = l.file.Close()
	for _, c := range resting {
		go c.proceed()
	}
}

// wake lets the connection with the ticket go on, unless somebody else has.
func (l *lot) wake(ticket uint64) {
	l.mu.Lock()
	c := l.resting[ticket]
	delete(l.resting, ticket)
	l.mu.Unlock()
	if c != nil {
		go c.proceed()
	}
}

// rest reports whether the connection rests from now on: its caller must leave it alone
// then, for it may be awake again already.
func (l *lot) rest(c *Conn) bool {
	l.mu.Lock()
	if l.resting == nil {
		l.mu.Unlock()
		return false
	}
	l.tickets++
	ticket := l.tickets
	l.resting[ticket] = c
	l.mu.Unlock()
	if c.socket.watch(l, ticket) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ours := l.resting[ticket]
	delete(l.resting, ticket)
	return !ours
}

// watch asks the lot's epoll instance for one event.
func (c *socket) watch(l *lot, ticket uint64) (ok bool) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.lot, c.ticket = l, ticket
	c.mu.Unlock()
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     int32(uint32(ticket)), Pad: int32(uint32(ticket >> 32)),
	}
	err := c.raw.Control(func(fd uintptr) {
		err := l.raw.Control(func(epoll uintptr) {
			// The descriptor stays in the set until it is closed.
			err := syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_MOD, int(fd), &event)
			if err == syscall.ENOENT {
				err = syscall.EpollCtl(int(epoll), syscall.EPOLL_CTL_ADD, int(fd), &event)
			}
			ok = err == nil
		})
		ok = ok && err == nil
	})
	return ok && err == nil
}
