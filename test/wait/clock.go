package wait

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Clock holds what a contract says of time against what something took, on a machine that
// has much else to do: time in which something waited for a processor does not count.
type Clock struct {
	start   time.Time
	stalled func() time.Duration
	before  time.Duration
}

// Start starts a clock.
func Start() Clock { return startOn(stalled) }

func startOn(stalled func() time.Duration) Clock {
	return Clock{time.Now(), stalled, stalled()}
}

// Took is how long the clock runs.
func (c Clock) Took() time.Duration { return time.Since(c.start) }

// accounted is how late the kernel may be with its account of stalls.
const accounted = 2100 * time.Millisecond

// Exceeds reports whether the clock runs for longer than a bound. Only where it seems to,
// it takes a moment to find out how long the machine had too much to do.
func (c Clock) Exceeds(bound time.Duration) bool {
	took := c.Took()
	if took <= bound {
		return false
	}
	time.Sleep(accounted)
	return took-(c.stalled()-c.before) > bound
}

// stalled is for how long, since the machine was started, anything waited for a processor;
// 0 where the kernel does not tell.
func stalled() time.Duration {
	pressure, _ := os.ReadFile("/proc/pressure/cpu")
	some, _, _ := strings.Cut(string(pressure), "\n")
	_, total, _ := strings.Cut(some, "total=")
	us, _ := strconv.ParseInt(total, 10, 64)
	return time.Duration(us) * time.Microsecond
}
