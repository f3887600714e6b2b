package cluster

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// Serve is how to start a `wsnode serve`.
type Serve struct {
	Name   string // of the process in logs
	Region string
	Listen string   // empty: a free address
	URL    string   // the region's public URL; empty: that of Listen
	NATS   string   // empty: --standalone
	JWKS   string   // empty: Flags say whose tokens are taken
	Flags  []string // more of them
	Under  []string // a command that replaces itself by wsnode, such as env or taskset

	Program string // the wsnode of another version; empty: this one's
}

// Node is a running `wsnode serve`.
type Node struct {
	*Process
	Addr string
}

// WS is the node's own server URL for providers.
func (n *Node) WS() string { return "ws://" + n.Addr }

// HTTP is the base URL of the node's HTTP API.
func (n *Node) HTTP() string { return "http://" + n.Addr }

// Start starts the node without waiting for it.
func (s Serve) Start(tb testing.TB) *Node {
	tb.Helper()
	if s.Listen == "" {
		s.Listen = FreeAddress(tb)
	}
	if s.URL == "" {
		s.URL = "ws://" + s.Listen
	}
	if s.Name == "" {
		s.Name = "wsnode"
	}
	args := []string{"serve", "--region", s.Region, "--listen", s.Listen, "--public-url", s.URL, "--single-region", "--drain-spread", "0s"}
	if s.JWKS != "" {
		args = append(args, "--jwks-url", s.JWKS)
	}
	if s.NATS == "" {
		args = append(args, "--standalone")
	} else {
		args = append(args, "--nats-url", s.NATS)
	}
	program := s.Program
	if program == "" {
		program = Binary(tb, wsnode)
	}
	command := slices.Concat(s.Under, []string{program}, args, s.Flags)
	return &Node{Run(tb, s.Name, command[0], command[1:]...), s.Listen}
}

// StartHealthy starts the node and waits until it is healthy.
func (s Serve) StartHealthy(tb testing.TB) *Node {
	tb.Helper()
	n := s.Start(tb)
	n.waitHealthy(tb)
	return n
}

// RunWsnode runs wsnode with any arguments.
func RunWsnode(tb testing.TB, args ...string) *Process {
	tb.Helper()
	return Run(tb, "wsnode", Binary(tb, wsnode), args...)
}

// Started waits until a process that serves at an address is healthy.
func Started(tb testing.TB, p *Process, addr string) *Node {
	tb.Helper()
	n := &Node{p, addr}
	n.waitHealthy(tb)
	return n
}

func (n *Node) waitHealthy(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(startPatience)
	for !n.healthy() {
		select {
		case <-n.exited:
			tb.Fatalf("%s ended: %v\n%s", n.Name, n.err, n.Output())
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s is not healthy:\n%s", n.Name, n.Output())
		}
		time.Sleep(20 * time.Millisecond) // there is no event to wait for before the listener is there
	}
}

func (n *Node) healthy() bool {
	response, err := http.Get(n.HTTP() + "/health")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
