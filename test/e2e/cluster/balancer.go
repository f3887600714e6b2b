package cluster

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Balancer passes TCP connections on to nodes in turn, skipping those that take
// none: the region's load balancer, and a network that can be cut.
type Balancer struct {
	listener net.Listener
	backends []string
	wg       sync.WaitGroup

	mu    sync.Mutex
	next  int
	cut   bool
	conns map[net.Conn]struct{}
}

// StartBalancer listens on a free loopback address for the given backends.
func StartBalancer(tb testing.TB, address string, backends ...string) *Balancer {
	tb.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	b := &Balancer{listener: listener, backends: backends, conns: map[net.Conn]struct{}{}}
	b.wg.Go(b.accept)
	tb.Cleanup(func() {
		listener.Close()
		b.Cut()
		b.wg.Wait()
	})
	return b
}

// WS is the server URL of the balancer for providers.
func (b *Balancer) WS() string { return "ws://" + b.listener.Addr().String() }

// Cut ends all connections and refuses new ones until Heal.
func (b *Balancer) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = true
	for c := range b.conns {
		c.Close()
	}
}

// Heal undoes Cut.
func (b *Balancer) Heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = false
}

func (b *Balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.pass(client) })
	}
}

func (b *Balancer) pass(client net.Conn) {
	defer client.Close()
	if !b.keep(client) {
		return
	}
	defer b.forget(client)
	node := b.dial()
	if node == nil {
		return
	}
	defer node.Close()
	if !b.keep(node) {
		return
	}
	defer b.forget(node)
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, node}, {node, client}} {
		both.Go(func() {
			io.Copy(pair[0], pair[1])
			pair[0].Close() // WebSockets have no half-closed state worth keeping
		})
	}
	both.Wait()
}

func (b *Balancer) dial() net.Conn {
	for range b.backends {
		b.mu.Lock()
		backend := b.backends[b.next%len(b.backends)]
		b.next++
		b.mu.Unlock()
		if c, err := net.Dial("tcp", backend); err == nil {
			return c
		}
	}
	return nil
}

// keep registers a connection for Cut; it reports false while the network is cut.
func (b *Balancer) keep(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cut {
		b.conns[c] = struct{}{}
	}
	return !b.cut
}

func (b *Balancer) forget(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}
