package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddress returns a loopback address that nobody listens on. Ports below
// the range that kernels give out by themselves are used, so that no client's
// own port takes it in the meantime.
func FreeAddress(tb testing.TB) string {
	return fmt.Sprintf("127.0.0.1:%d", FreePorts(tb, []int{0}))
}

// FreeDevPort returns a --port for `wsnode dev` with its default regions and nodes.
func FreeDevPort(tb testing.TB) int {
	tb.Helper()
	return FreePorts(tb, devOffsets(2, 2))
}

// devOffsets are the ports of all nodes of `wsnode dev`, less the first one's.
func devOffsets(regions, nodes int) (offsets []int) {
	for i := range regions {
		for j := range nodes {
			offsets = append(offsets, 10*i+j)
		}
	}
	return offsets
}

// FreePorts returns a base so that nobody listens on any of base+offsets.
func FreePorts(tb testing.TB, offsets []int) int {
	tb.Helper()
	for range 200 {
		base := 10000 + rand.IntN(22000)
		if allFree(base, offsets) {
			return base
		}
	}
	tb.Fatal("no free ports")
	return 0
}

func allFree(base int, offsets []int) bool {
	for _, offset := range offsets {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+offset))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
