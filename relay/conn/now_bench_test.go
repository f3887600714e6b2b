//go:build linux && !race

package conn

import (
	"net"
	"syscall"
	"testing"
)

// BenchmarkWriteNow compares the ways to write a frame to a socket: past the scheduler, by
// package syscall, by the runtime's poller, and by package net. What is written is read
// again by the same goroutine, which nobody wakes.
func BenchmarkWriteNow(b *testing.B) {
	const frames = 64 // that are written until they are read
	frame, all := make([]byte, 64), make([]byte, 64*frames)
	ways := map[string]func(c *net.TCPConn, raw syscall.RawConn, fd int) error{
		"now": func(_ *net.TCPConn, _ syscall.RawConn, fd int) error { _, err := writeNow(fd, frame); return err },
		"syscall": func(_ *net.TCPConn, _ syscall.RawConn, fd int) error {
			_, err := syscall.Write(fd, frame)
			return err
		},
		"poller": func(_ *net.TCPConn, raw syscall.RawConn, _ int) (err error) {
			return raw.Write(func(fd uintptr) bool { _, err = syscall.Write(int(fd), frame); return true })
		},
		"net": func(c *net.TCPConn, _ syscall.RawConn, _ int) error { _, err := c.Write(frame); return err },
	}
	for _, name := range []string{"now", "syscall", "poller", "net"} {
		b.Run(name, func(b *testing.B) {
			from, to := socketPair(b)
			raw, err := from.SyscallConn()
			if err != nil {
				b.Fatal(err)
			}
			var fd int
			control(b, from, func(of int) { fd = of })
			for n := 0; b.Loop(); n++ {
				if err := ways[name](from, raw, fd); err != nil {
					b.Fatal(err)
				}
				if n%frames == frames-1 {
					b.StopTimer()
					for left := len(all); left > 0; {
						got, err := to.Read(all[:left])
						if err != nil {
							b.Fatal(err)
						}
						left -= got
					}
					b.StartTimer()
				}
			}
		})
	}
}
