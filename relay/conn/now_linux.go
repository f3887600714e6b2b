//go:build !race

package conn

import (
	"syscall"
	"unsafe"
)

// A socket that never blocks is read and written without telling the scheduler. It
// would be told twice per call, and takes a processor away from a call that lasts
// longer than 20 µs, as a write of some dozen KiB to loopback does, and one that the
// hypervisor interrupts: a quarter of what a fan-out costs is to find another thread
// for the processor, and then another processor for the thread. BenchmarkWriteNow
// compares the ways to write a frame.
//
// The race detector takes a connection for an order between its two ends only in the
// calls of package syscall, so with it those are used.

// nowMost bounds one such call, in bytes: the collector waits for it.
const nowMost = 64 << 10

// writeNow writes what a non-blocking socket takes. It fails with EAGAIN if that is
// nothing.
func writeNow(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := call(syscall.SYS_SENDTO, fd, p[n:min(len(p), n+nowMost)])
		if err == syscall.EAGAIN && n > 0 {
			break
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// readNow reads what a non-blocking socket has. It fails with EAGAIN if that is
// nothing.
func readNow(fd int, p []byte) (n int, err error) {
	return call(syscall.SYS_READ, fd, p)
}

// call makes a system call that begins with a descriptor and bytes. To send is cheaper
// than to write, which is for files as well; reading takes no notice of what else it needs.
func call(trap uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
