package overload

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// Descriptors knows how many file descriptors the process has open, and how many it
// may. Clients may have all but a reserve, so that probes, the admin listener, NATS and
// issuers can still be reached when they have. A nil Descriptors sets no limit. It is
// safe for concurrent use.
type Descriptors struct {
	most    int
	reserve int
	count   func() (int, bool)

	mu    sync.Mutex
	open  int       // when counted
	taken int       // by clients since then
	at    time.Time // of the count
	took  time.Duration
}

// NewDescriptors returns those of this process; nil where they cannot be counted.
func NewDescriptors() *Descriptors {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil
	}
	if _, ok := countDescriptors(); !ok {
		return nil
	}
	return newDescriptors(int(min(limit.Cur, 1<<30)), countDescriptors)
}

// newDescriptors makes those of a process that may have so many.
func newDescriptors(most int, count func() (int, bool)) *Descriptors {
	return &Descriptors{most: most, reserve: min(64, most/8), count: count}
}

// Most is how many the process may have open; 0 if the system does not tell.
func (d *Descriptors) Most() int {
	if d == nil {
		return 0
	}
	return d.most
}

// Share is the share of them in use.
func (d *Descriptors) Share() float64 {
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countLocked(time.Second)
	return float64(d.open+d.taken) / float64(d.most)
}

// Take counts a client's descriptor, which is open already, and reports whether it may
// stay open.
func (d *Descriptors) Take() bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken++
	d.countLocked(time.Second)
	if d.open+d.taken <= d.most-d.reserve {
		return true
	}
	d.countLocked(10 * time.Millisecond) // some may have been closed
	if d.open+d.taken <= d.most-d.reserve {
		return true
	}
	d.taken--
	return false
}

// countLocked counts anew what was counted longer ago than that, and rests for a hundred
// times as long as counting took.
func (d *Descriptors) countLocked(age time.Duration) {
	now := time.Now()
	if !d.at.IsZero() && now.Sub(d.at) < max(age, 100*d.took) {
		return
	}
	open, ok := d.count()
	d.at, d.took = time.Now(), time.Since(now)
	if ok {
		d.open, d.taken = open, 0
	}
}

// countDescriptors counts what the process has open. Since Linux 6.2 the folder's size
// tells; before, its entries do.
func countDescriptors() (int, bool) {
	const folder = "/proc/self/fd"
	info, err := os.Stat(folder)
	if err != nil {
		return 0, false
	}
	if size := info.Size(); size > 0 {
		return int(size), true
	}
	entries, err := os.ReadDir(folder)
	return len(entries), err == nil
}
