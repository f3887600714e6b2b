//go:build !linux || race

package conn

import "syscall"

// writeNow writes what a non-blocking socket takes. It fails with EAGAIN if that is
// nothing.
func writeNow(fd int, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Write(fd, p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// readNow reads what a non-blocking socket has. It fails with EAGAIN if that is
// nothing.
func readNow(fd int, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(fd, p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
