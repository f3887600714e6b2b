package cluster

import (
	"testing"

	"github.com/wsnode/wsnode/test/ports"
)

// FreeAddress returns a loopback address that nobody listens on.
func FreeAddress(tb testing.TB) string { return ports.At(FreePorts(tb, 1)) }

// FreePorts returns the first of n ports in a row that nobody listens on.
func FreePorts(tb testing.TB, n int) int {
	tb.Helper()
	first, err := ports.Take(n)
	if err != nil {
		tb.Fatal(err)
	}
	return first
}

// devPorts is how many ports in a row contain those of the nodes of `wsnode dev`.
func devPorts(regions, nodes int) int { return 10*(regions-1) + nodes }
