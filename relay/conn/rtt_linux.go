package conn

import (
	"time"

	"golang.org/x/sys/unix"
)

// roundTrip is the kernel's smoothed round-trip time of the connection, 0 where
// it is not a TCP socket: asking costs nothing until somebody does.
func (c *socket) roundTrip() (rtt time.Duration) {
	if c.raw == nil {
		return 0
	}
	_ = c.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}
