// Package ports hands out ports on loopback to servers that cannot choose one
// themselves, because others have to know it before they start.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// All ports lie below the range that kernels give out by themselves, so that no
// client's own port takes one before its server does, or while it restarts. Each
// process goes round in a share of them, which is its own as long as it runs, so that
// none is handed out again soon, nor by another process.
const (
	lowest = 10_000
	share  = 1_000
	shares = 22
)

var (
	mu    sync.Mutex
	at    = rand.IntN(share)
	base  int          // of this process's share; 0 before it has one
	claim net.Listener // listens just below it, and so keeps others out
)

// claimShare takes a share that no other process has.
func claimShare() error {
	for k := range shares {
		below := lowest + (os.Getpid()+k)%shares*(share+1)
		if l, err := net.Listen("tcp", At(below)); err == nil {
			base, claim = below+1, l
			return nil
		}
	}
	return fmt.Errorf("%d processes take ports already, expected fewer", shares)
}

// Take returns the first of n consecutive ports that nobody listens on. They belong
// to the caller, until the process has taken about a thousand others. It may be
// called from any goroutine.
func Take(n int) (first int, err error) {
	mu.Lock()
	defer mu.Unlock()
	if claim == nil {
		if err := claimShare(); err != nil {
			return 0, err
		}
	}
	for tries := 0; tries < share && n <= share; tries++ {
		if at+n > share {
			at = 0
		}
		first = base + at
		if busy := firstBusy(first, n); busy >= 0 {
			at += busy + 1
			continue
		}
		at += n
		return first, nil
	}
	return 0, fmt.Errorf("no %d free ports in a row from %d to %d", n, base, base+share-1)
}

// At is the loopback address with a port.
func At(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// firstBusy returns which of n ports somebody listens on, -1 if none.
func firstBusy(first, n int) int {
	for i := range n {
		l, err := net.Listen("tcp", At(first+i))
		if err != nil {
			return i
		}
		l.Close()
	}
	return -1
}
