package conn

import (
	"os"
	"sync"
	"syscall"
)

// parking is where connections that have nothing to say are parked without a goroutine: a
// stack and its descriptor are 4.5 KiB, half of what an idle connection costs. An
// epoll instance watches them; it is itself watched by the runtime's poller, so it
// takes no thread.
//
// Who takes a parked connection out of the parking, and nobody else, goes on reading: the
// parking when there is something to read, or Conn.Close.
type parking struct {
	file   *os.File // the epoll instance
	raw    syscall.RawConn
	events [64]syscall.EpollEvent // owned by run

	mu      sync.Mutex
	tickets uint64
	parked  map[uint64]*Conn // by ticket; nil once closed
}

func openParking() (*parking, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &parking{file: os.NewFile(uintptr(fd), "epoll"), parked: map[uint64]*Conn{}}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// run wakes connections until close.
func (p *parking) run() {
	for {
		var n int
		err := p.raw.Read(func(epoll uintptr) bool {
			n, _ = syscall.EpollWait(int(epoll), p.events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range p.events[:max(n, 0)] {
			p.wake(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// close ends run, and wakes all that are parked.
func (p *parking) close() {
	p.mu.Lock()
	parked := p.parked
	p.parked = nil
	p.mu.Unlock()
	_ = p.file.Close()
	for _, c := range parked {
		go c.proceed()
	}
}

// wake lets the connection with the ticket go on, unless somebody else has.
func (p *parking) wake(ticket uint64) {
	p.mu.Lock()
	c := p.parked[ticket]
	delete(p.parked, ticket)
	p.mu.Unlock()
	if c != nil {
		go c.proceed()
	}
}

// park reports whether the connection is parked from now on: its caller must leave it alone
// then, for it may be awake again already.
func (p *parking) park(c *Conn) bool {
	p.mu.Lock()
	if p.parked == nil {
		p.mu.Unlock()
		return false
	}
	p.tickets++
	ticket := p.tickets
	p.parked[ticket] = c
	p.mu.Unlock()
	if c.socket.watch(p, ticket) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ours := p.parked[ticket]
	delete(p.parked, ticket)
	return !ours
}

// watch asks the parking's epoll instance for one event.
func (c *socket) watch(p *parking, ticket uint64) (ok bool) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.parking, c.ticket = p, ticket
	c.mu.Unlock()
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     int32(uint32(ticket)), Pad: int32(uint32(ticket >> 32)),
	}
	err := c.raw.Control(func(fd uintptr) {
		err := p.raw.Control(func(epoll uintptr) {
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
