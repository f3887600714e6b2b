//go:build unix

package bus

import (
	"net"
	"syscall"
)

// tryWriter returns a function that writes as much as the kernel takes without
// waiting, or nil if c has no file descriptor. An error counts as nothing
// written: the write that follows meets it again.
func tryWriter(c net.Conn) func([]byte) int {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	var p []byte // of the call under way; the caller holds the wire's lock
	written := 0
	write := func(fd uintptr) bool {
		for {
			n, err := syscall.Write(int(fd), p)
			if err == syscall.EINTR {
				continue
			}
			written = max(n, 0)
			return true
		}
	}
	return func(bytes []byte) int {
		p, written = bytes, 0
		if err := raw.Write(write); err != nil {
			written = 0
		}
		p = nil
		return written
	}
}
