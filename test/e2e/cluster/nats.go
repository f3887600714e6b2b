package cluster

import (
	"net"
	"strings"
	"testing"
)

// StartNATS starts a nats-server process with JetStream in a temporary folder
// and returns its URL when it takes clients.
func StartNATS(tb testing.TB) (natsURL string) {
	tb.Helper()
	host, port, err := net.SplitHostPort(FreeAddress(tb))
	if err != nil {
		tb.Fatal(err)
	}
	p := Run(tb, "nats-server", Binary(tb, natsServer), "-a", host, "-p", port, "-js", "-sd", tb.TempDir())
	p.WaitLine(func(line string) bool { return strings.Contains(line, "Server is ready") })
	return "nats://" + net.JoinHostPort(host, port)
}
