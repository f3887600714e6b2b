package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canPoll = true

// poller watches non-blocking sockets with epoll, level-triggered.
type poller struct {
	epoll      int
	wakeup     int // eventfd
	generation int32
	socks      []*sock // by fd
	events     [512]unix.EpollEvent
	buffer     []byte // what was read is lent to the sinks from here
}

func (p *poller) open() error {
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if p.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	p.buffer = make([]byte, 256<<10)
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.wakeup, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.wakeup)})
}

func (p *poller) close() {
	for _, s := range p.socks {
		if s != nil {
			s.abandon()
		}
	}
	unix.Close(p.epoll)
	unix.Close(p.wakeup)
}

func (p *poller) wake() {
	one := [8]byte{1}
	unix.Write(p.wakeup, one[:])
}

// dial begins a non-blocking connect. A failure is told to the sink from the next poll.
func (p *poller) dial(l *loop, address *net.TCPAddr, to sink) *sock {
	s := &sock{loop: l, sink: to, fd: -1, connecting: true}
	if err := p.connect(s, address); err != nil {
		l.post(func(int64) { s.fail(err) })
	}
	return s
}

func (p *poller) connect(s *sock, address *net.TCPAddr) error {
	family := unix.AF_INET
	var to unix.Sockaddr
	if ip := address.IP.To4(); ip != nil {
		to = &unix.SockaddrInet4{Port: address.Port, Addr: [4]byte(ip)}
	} else {
		family = unix.AF_INET6
		to = &unix.SockaddrInet6{Port: address.Port, Addr: [16]byte(address.IP.To16())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return fmt.Errorf("connect %v: %w", address, err)
	}
	p.generation++
	s.fd, s.generation = fd, p.generation
	for len(p.socks) <= fd {
		p.socks = append(p.socks, nil)
	}
	p.socks[fd] = s
	return p.watch(s, unix.EPOLL_CTL_ADD, unix.EPOLLIN|unix.EPOLLOUT)
}

func (p *poller) watch(s *sock, op int, events uint32) error {
	return unix.EpollCtl(p.epoll, op, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd), Pad: s.generation})
}

func (p *poller) drop(s *sock) {
	if s.fd < 0 {
		return
	}
	p.socks[s.fd] = nil
	unix.Close(s.fd)
	s.fd = -1
}

// wait handles what is ready, after waiting for at most the given nanoseconds.
func (p *poller) wait(l *loop, nanoseconds int64) {
	timeout := unix.NsecToTimespec(max(nanoseconds, 0))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if errno == unix.ENOSYS { // before Linux 5.11: milliseconds must do
		var err error
		var ready int
		if ready, err = unix.EpollWait(p.epoll, p.events[:], int(max(nanoseconds, 0)/1e6)); err != nil {
			return
		}
		n, errno = uintptr(ready), 0
	}
	if errno != 0 {
		return
	}
	for _, event := range p.events[:n] {
		if int(event.Fd) == p.wakeup {
			var drained [8]byte
			unix.Read(p.wakeup, drained[:])
			continue
		}
		// A socket closed by an earlier event of this round may have left its number to a new one.
		if s := p.socks[event.Fd]; s != nil && s.generation == event.Pad {
			p.handle(l, s, event.Events)
		}
	}
}

func (p *poller) handle(l *loop, s *sock, events uint32) {
	if s.connecting {
		if errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			s.fail(fmt.Errorf("connect: %w", syscall.Errno(errno)))
			return
		}
		if events&unix.EPOLLOUT == 0 {
			return
		}
		s.connecting = false
		s.sink.opened(l.now())
		if s.dead {
			return
		}
		p.flush(s)
		if !s.dead && len(s.out) == 0 {
			p.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
		}
		return
	}
	if events&unix.EPOLLOUT != 0 {
		p.flush(s)
		if !s.dead && len(s.out) == 0 {
			p.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
		}
	}
	if s.dead || events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	n, err := unix.Read(s.fd, p.buffer)
	switch {
	case n > 0:
		s.sink.received(p.buffer[:n], l.now())
	case n == 0 && err == nil:
		s.fail(io.EOF)
	case err != unix.EAGAIN && err != unix.EINTR:
		s.fail(fmt.Errorf("read: %w", err))
	}
}

// write hands p to the kernel and queues what it does not take.
func (p *poller) write(s *sock, data []byte) {
	n, err := unix.Write(s.fd, data)
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		// The reader's side learns of it from epoll; failing here would surprise the caller.
		return
	}
	if n = max(n, 0); n < len(data) {
		s.out = append(s.out, data[n:]...)
		p.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

func (p *poller) flush(s *sock) {
	for len(s.out) > 0 {
		n, err := unix.Write(s.fd, s.out)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			s.fail(fmt.Errorf("write: %w", err))
			return
		}
		s.out = s.out[n:]
	}
	s.out = nil
}
